/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be seen of a stopped tree from outside: /proc, ptrace, namespaces. It
 * refuses here what no later step could make right, so that nothing was touched yet.
 */
#include <string.h>
#include <sys/stat.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "dump/dt.h"
#include "kern/kcmp.h"
#include "kern/pidfd.h"

static const struct seize_task *seized(const struct dump *d, size_t i)
{
	return d->seized->tasks[i];
}

/* linux/ptrace.h has it since 6.4 */
#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif

/* Its program gets our questions instead of the kernel. */
static int check_dispatch(pid_t tid)
{
	uint64_t conf[4] = { 0 }; /* mode, selector, offset, length */

	if (!ptrace((enum __ptrace_request)PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, tid, sizeof(conf), conf) && conf[0])
		return err_say(ENOTSUP, "dispatch of system calls to user space (prctl) is not supported yet");
	return 0;
}

static bool signals_wait(const struct proc_status *s)
{
	return (s->sig_pnd | s->shd_pnd) & ~s->sig_blk;
}

static int dump_thread_facts(struct dump *d, struct dthread *k, struct dump_thread *th, CoreEntry *core)
{
	struct user_regs_struct saved;
	uint8_t raw[PTRACE_XSAVE_MAX];
	int err;

	k->th = th;
	th->core = core;
	core->mtype = CORE_ENTRY__MARCH__X86_64;
	err = ptrace_get_regs(th->tid, &k->regs);
	if (err >= 0)
		err = regs_check_live(th->tid, &k->regs);
	if (err >= 0)
		err = proc_status_read(th->task->proc_fd, th->tid, d->kinds.a, &th->status);
	if (err >= 0 && th->status.seccomp) /* thaw's questions might kill it */
		err = err_say(ENOTSUP, "%s is not supported yet",
			      th->status.seccomp == 1 ? "strict seccomp mode" : "a seccomp filter");
	if (err >= 0)
		err = check_dispatch(th->tid);
	if (err >= 0)
		err = regs_leave_rseq(th->tid, &k->regs);
	if (err > 0)
		err = ptrace_set_regs(th->tid, &k->regs);
	if (err >= 0)
		err = ptrace_get_xsave(th->tid, raw, sizeof(raw), &k->xsave_len);
	if (err >= 0)
		err = ptrace_get_sigmask(th->tid, &th->sigmask);
	if (err < 0)
		return err;
	k->xsave = arena_memdup(d->kinds.a, raw, k->xsave_len);
	core->thread_core = arena_msg(d->kinds.a, thread_core_entry, ThreadCoreEntry);
	saved = k->regs;
	if (!signals_wait(&th->status))
		(void)regs_begin_again(&saved);
	regs_dump(d->kinds.a, th->tid, &saved, core);
	return xsave_dump(&d->xsave, d->kinds.a, k->xsave, k->xsave_len, core);
}

static CoreEntry *add_core(struct dump *d, struct snap_task *t)
{
	CoreEntry *core = arena_msg(d->kinds.a, core_entry, CoreEntry);

	arena_add(d->kinds.a, &t->cores, &t->ncores, core);
	return core;
}

static TaskCoreEntry *task_core(struct dump *d, CoreEntry *core, const struct seize_task *s)
{
	TaskCoreEntry *tc = arena_msg(d->kinds.a, task_core_entry, TaskCoreEntry);

	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->tc = tc;
	tc->comm = arena_strdup(d->kinds.a, s->comm);
	tc->task_state = s->state == SEIZE_ZOMBIE ? TASK_DEAD : s->state == SEIZE_STOPPED ? TASK_STOPPED : TASK_ALIVE;
	tc->exit_code = (uint32_t)s->exit_code;
	if (s->state == SEIZE_STOPPED) {
		tc->has_stop_signo = true;
		tc->stop_signo = (uint32_t)s->stop_sig;
	}
	return tc;
}

static struct snap_task *add_task(struct dump *d, const struct seize_task *s)
{
	struct arena *a = d->kinds.a;
	struct snap_task *t = arena_alloc(a, sizeof(*t));

	t->pst = arena_msg(a, pstree_entry, PstreeEntry);
	t->pst->pid = (uint32_t)s->pid;
	t->pst->ppid = s->parent ? (uint32_t)s->parent->pid : 0;
	t->pst->pgid = (uint32_t)s->pgid;
	t->pst->sid = (uint32_t)s->sid;
	t->pst->n_threads = s->n_tids ? s->n_tids : 1;
	t->pst->threads = arena_alloc(a, t->pst->n_threads * sizeof(uint32_t));
	t->pst->threads[0] = (uint32_t)s->pid;
	for (size_t i = 0; i < s->n_tids; i++)
		t->pst->threads[i] = (uint32_t)s->tids[i];
	t->zombie = s->state == SEIZE_ZOMBIE;
	t->index = d->snap->ntasks;
	t->parent = s->parent ? snap_task(d->snap, (uint32_t)s->parent->pid) : NULL;
	if (t->parent)
		arena_add(a, &t->parent->children, &t->parent->nchildren, t);
	arena_add(a, &d->snap->tasks, &d->snap->ntasks, t);
	return t;
}

/* A mapping with VmFlags costs a walk of its page tables; all of them are needed: locks, advice, guards. */
static int task_facts(struct dump *d, struct dtask *k, struct dump_task *t, const struct seize_task *s)
{
	struct snap_task *st = add_task(d, s);
	int err;

	t->t = st;
	t->pid = s->pid;
	t->proc_fd = s->proc_fd;
	t->stat = s->stat;
	k->t = t;
	t->pidfd = pidfd_for(s->pid);
	err = t->pidfd < 0 ? t->pidfd : proc_status_read(t->proc_fd, 0, d->kinds.a, &t->status);
	if (err >= 0)
		err = maps_read(t->proc_fd, MAPS_FLAGS, d->kinds.a, &t->maps, &t->nmaps);
	if (err < 0)
		return err;
	t->nthreads = s->n_tids;
	t->threads = arena_alloc(d->kinds.a, t->nthreads * sizeof(*t->threads));
	k->threads = arena_alloc(d->kinds.a, t->nthreads * sizeof(*k->threads));
	for (size_t i = 0; i < t->nthreads; i++) {
		CoreEntry *core = add_core(d, st);

		t->threads[i] = (struct dump_thread){ .task = t, .tid = s->tids[i] };
		if (!i)
			task_core(d, core, s);
		err = dump_thread_facts(d, &k->threads[i], &t->threads[i], core);
		if (err < 0)
			return err_ctx(err, "thread %d", s->tids[i]);
	}
	return 0;
}

/* --- what is shared with whom ------------------------------------------------------------------- */

static int refuse_shared(const struct dump_task *a, const struct dump_task *b)
{
	static const struct {
		enum kcmp_what what;
		const char *name;
	} shared[] = { { KCMP_WHAT_VM, "memory" }, { KCMP_WHAT_FILES, "its descriptor table" },
		       { KCMP_WHAT_FS, "its working directory" }, { KCMP_WHAT_SIGHAND, "its signal handlers" } };

	for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
		int same = kcmp_same(a->pid, b->pid, shared[i].what);

		if (same < 0)
			return same;
		if (same)
			return err_say(ENOTSUP, "it shares %s with task %d (%s): this is not supported yet", shared[i].name, b->pid,
				       b->stat.comm);
	}
	return 0;
}

/* Sharing without being a thread comes from clone() flags (vfork above all), so it is between parent and child. */
static int check_shared(const struct dump *d, size_t i)
{
	const struct dump_task *t = &d->kinds.tasks[i];

	for (size_t j = 0; j < i; j++)
		if (t->t->parent == d->kinds.tasks[j].t)
			return refuse_shared(t, &d->kinds.tasks[j]);
	return 0;
}

static int check_session(const struct dump *d)
{
	const struct seize_task *root = seized(d, 0);

	for (size_t i = 0; i < d->seized->n_tasks; i++) {
		const struct seize_task *s = seized(d, i);
		bool roots = s->sid == root->sid && root->sid != root->pid;

		/* 0: from outside of our PID namespace */
		if (roots ? !d->kinds.opts->shell_job : !s->sid)
			return err_say(EINVAL,
				       "task %d (%s): its session %d is led from outside of the tree: use --shell-job (-j), or dump the session leader",
				       s->pid, s->comm, s->sid);
	}
	return 0;
}

int facts_collect(struct dump *d)
{
	size_t n = d->seized->n_tasks, alive = 0;
	int err = check_session(d);

	if (err >= 0)
		err = namespaces_init(d);
	if (err >= 0)
		err = xsave_layout_read(&d->xsave);
	if (err < 0)
		return err;
	d->kinds.tasks = arena_alloc(d->kinds.a, n * sizeof(*d->kinds.tasks));
	d->tasks = arena_alloc(d->kinds.a, n * sizeof(*d->tasks));
	for (size_t i = 0; i < n; i++) {
		const struct seize_task *s = seized(d, i);

		if (s->state == SEIZE_ZOMBIE) {
			task_core(d, add_core(d, add_task(d, s)), s);
			continue;
		}
		d->kinds.tasks[alive].pidfd = -1;
		d->kinds.ntasks = alive + 1;
		err = task_facts(d, &d->tasks[alive], &d->kinds.tasks[alive], s);
		if (err >= 0)
			err = namespaces_dump(d, &d->kinds.tasks[alive]);
		if (err >= 0)
			err = check_shared(d, alive);
		if (err < 0)
			return err_ctx(err, "task %d (%s)", s->pid, s->comm);
		alive++;
	}
	return 0;
}

/* In the image these calls start again. So they do in a tree that goes on; but a signal may have come meanwhile. */
void facts_begin_again(struct dump *d)
{
	for (size_t i = 0; d->tasks && i < d->kinds.ntasks; i++)
		for (size_t k = 0; d->tasks[i].threads && k < d->tasks[i].t->nthreads; k++) {
			struct dthread *th = &d->tasks[i].threads[k];
			struct user_regs_struct regs = th->regs;
			struct proc_status now;

			if (!th->th || th->in_blob || !regs_begin_again(&regs))
				continue;
			if (!proc_status_read(th->th->task->proc_fd, th->th->tid, d->kinds.a, &now) &&
			    !signals_wait(&now))
				(void)!ptrace_set_regs(th->th->tid, &regs);
		}
}

void facts_done(struct dump *d)
{
	for (size_t i = 0; d->kinds.tasks && i < d->kinds.ntasks; i++)
		close_fd(&d->kinds.tasks[i].pidfd);
}
