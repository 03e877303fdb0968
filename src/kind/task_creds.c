/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials: user and group IDs, groups, capabilities, securebits,
 * no_new_privs; and what the kernel resets when they change: the parent-death
 * signal and whether the task is dumpable.
 *
 * The kernel has them per thread, and so do images: /proc/PID/task/TID/status
 * shows all but securebits and the parent-death signal, which are asked for. (A
 * thread under seccomp was refused before: the questions might have killed it.)
 * What follows for restore is in creds_change.c.
 *
 * Runs in the engine. Order in the table: last but one of those that
 * emit_thread(): everything else may need the privileges that end here.
 */
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "kind/creds_change.h"
#include "kind/kind.h"
#include "kind/task_entry.h"

struct asked {
	const struct prog_rec *securebits;
	int32_t *pdeath_sig;
};

static void *creds_ask(struct dumping *d, struct dump_thread *th, struct prog *p)
{
	struct asked *q = arena_alloc(d->a, sizeof(*q));
	uint64_t va;

	(void)th;
	q->pdeath_sig = prog_alloc(p->space, sizeof(*q->pdeath_sig), &va);
	prog_label(p, "ask for the parent-death signal");
	prog_sys(p, SYS_prctl, PR_GET_PDEATHSIG, va);
	prog_label(p, "ask for securebits");
	q->securebits = prog_sys(p, SYS_prctl, PR_GET_SECUREBITS);
	return q;
}

/* Two words, low first. */
static void set_caps(struct arena *a, uint64_t caps, uint32_t **ret_v, size_t *ret_n)
{
	const uint32_t word[2] = { (uint32_t)caps, (uint32_t)(caps >> 32) };

	*ret_v = arena_memdup(a, word, sizeof(word));
	*ret_n = 2;
}

static CredsEntry *creds_entry(struct arena *a, const struct proc_status *s, uint32_t securebits)
{
	CredsEntry *e = arena_msg(a, creds_entry, CredsEntry);

	e->uid = s->uid[0], e->euid = s->uid[1], e->suid = s->uid[2], e->fsuid = s->uid[3];
	e->gid = s->gid[0], e->egid = s->gid[1], e->sgid = s->gid[2], e->fsgid = s->gid[3];
	set_caps(a, s->cap[PROC_CAP_INH], &e->cap_inh, &e->n_cap_inh);
	set_caps(a, s->cap[PROC_CAP_PRM], &e->cap_prm, &e->n_cap_prm);
	set_caps(a, s->cap[PROC_CAP_EFF], &e->cap_eff, &e->n_cap_eff);
	set_caps(a, s->cap[PROC_CAP_BND], &e->cap_bnd, &e->n_cap_bnd);
	set_caps(a, s->cap[PROC_CAP_AMB], &e->cap_amb, &e->n_cap_amb);
	e->secbits = securebits;
	e->n_groups = s->n_groups;
	if (s->n_groups)
		e->groups = arena_memdup(a, s->groups, s->n_groups * sizeof(*s->groups));
	e->has_no_new_privs = s->no_new_privs;
	e->no_new_privs = s->no_new_privs;
	return e;
}

static int creds_dump_thread(struct dumping *d, struct dump_thread *th, const void *asked)
{
	ThreadCoreEntry *e = task_entry_thread(d->a, th->core);
	const struct asked *q = asked;

	e->creds = creds_entry(d->a, &th->status, (uint32_t)q->securebits->ret);
	e->has_pdeath_sig = *q->pdeath_sig != 0;
	e->pdeath_sig = (uint32_t)*q->pdeath_sig;
	return 0;
}

static bool has_seccomp(const CoreEntry *c)
{
	return (c->thread_core->has_seccomp_mode && c->thread_core->seccomp_mode != SECCOMP_MODE__disabled) ||
	       (c->tc && c->tc->has_old_seccomp_mode && c->tc->old_seccomp_mode != SECCOMP_MODE__disabled);
}

/* What all threads start with: the engine's own. */
static int own_creds(struct restoring *r, const struct creds **ret)
{
	struct creds *own = r->kind_state[KIND_STATE_CREDS];
	int e = 0;

	if (!own) {
		own = arena_alloc(r->a, sizeof(*own));
		e = creds_own(r->a, own);
		if (e >= 0)
			r->kind_state[KIND_STATE_CREDS] = own;
	}
	*ret = own;
	return e;
}

static int creds_check_task(struct restoring *r, const struct snap_task *t)
{
	const struct creds *own;
	int e = own_creds(r, &own);

	for (size_t k = 0; e >= 0 && k < t->ncores; k++) {
		const CoreEntry *c = t->cores[k];
		struct creds want;

		if (has_seccomp(c))
			return err_say(ENOTSUP, "thread %u: seccomp is not supported yet", t->pst->threads[k]);
		if (!c->thread_core->creds)
			continue;
		e = creds_of_entry(c->thread_core->creds, &want);
		if (e >= 0)
			e = creds_check(own, &want);
	}
	return e;
}

/* 2 (only root may read it) is what a change of credentials leaves, but it cannot be asked for; 0 is stricter. */
static void emit_dumpable(const struct snap_task *t, struct prog *p)
{
	uint64_t want = t->mm && t->mm->has_dumpable && t->mm->dumpable != 1 ? 0 : 1;

	prog_label(p, "make it %sdumpable", want ? "" : "not ");
	prog_sys(p, SYS_prctl, PR_SET_DUMPABLE, want);
}

/*
 * A thread that changes its credentials makes the whole task not dumpable, and
 * threads change theirs side by side: so each of them sets it right again, and
 * the last to do so is right.
 */
static int creds_emit_thread(struct restoring *r, const struct snap_task *t, size_t k, struct prog *p)
{
	const ThreadCoreEntry *e = t->cores[k]->thread_core;
	const struct creds *own;
	struct creds want;
	bool changed = false;
	int x;

	if (e->creds) {
		x = own_creds(r, &own);
		if (x >= 0)
			x = creds_of_entry(e->creds, &want);
		if (x < 0)
			return x;
		changed = creds_emit(own, &want, p);
	}
	if (changed || !k)
		emit_dumpable(t, p);
	if (e->has_pdeath_sig && e->pdeath_sig) {
		prog_label(p, "set the parent-death signal %u", e->pdeath_sig);
		prog_sys(p, SYS_prctl, PR_SET_PDEATHSIG, e->pdeath_sig);
	}
	return 0;
}

const struct kind_task kind_task_creds = {
	.name = "credentials",
	.ask_thread = creds_ask,
	.dump_thread = creds_dump_thread,
	.check = creds_check_task,
	.emit_thread = creds_emit_thread,
};
