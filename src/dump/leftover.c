/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a killed thaw has left (leftover.h).
 *
 * A blob is known by its first bytes, which say as well how much memory belongs to it; a ledge by its mark. A
 * thread that is inside is followed from system call to system call until it is out: the last one of the blob is its
 * sigreturn, the last one of a ledge the one that puts its mask back. So it never runs an instruction of its program.
 */
#include "dump/leftover.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/io.h"
#include "base/log.h"
#include "base/trace.h"
#include "prog/blob_syms.h"

static const uint64_t PATIENCE_NS = 10000000000u;

enum { AGAIN_MS = 10 /* a handler has to end */ };

struct piece {
	uint64_t start_va, end_va;
	struct pie_head head;
};

struct found {
	struct piece **v;
	size_t n;
	const struct map *vdso;
};

static bool may_hold_blob(const struct map *m)
{
	return m->shared && m->prot == (PROT_READ | PROT_WRITE | PROT_EXEC) &&
	       (!strcmp(m->name, "/dev/zero (deleted)") || !strcmp(m->name, "/memfd:thaw-pie (deleted)"));
}

/* A blob's memory is mapped without a gap, and nothing else is mapped with it. */
static bool is_whole(const struct map *m, const struct map *end, uint64_t len)
{
	uint64_t start_va = m->start_va, at = start_va;

	for (; m < end && m->start_va == at && at - start_va < len; m++)
		at = m->end_va;
	return at - start_va == len;
}

static int find(const struct dtask *k, struct arena *a, struct found *ret)
{
	const struct map *end = k->t->maps + k->t->nmaps;
	auto_close int fd = -1;

	*ret = (struct found){ .vdso = maps_named(k->t->maps, k->t->nmaps, "[vdso]") };
	for (const struct map *m = k->t->maps; m < end; m++) {
		struct pie_head head;
		struct piece *p;

		if (!may_hold_blob(m))
			continue;
		if (fd < 0)
			fd = openat(k->t->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_set(errno, "open its memory");
		if (io_pread(fd, &head, sizeof(head), m->start_va) != sizeof(head) || !blob_is(&head) ||
		    !is_whole(m, end, head.len))
			continue;
		p = arena_alloc(a, sizeof(*p));
		*p = (struct piece){ m->start_va, m->start_va + head.len, head };
		arena_add(a, &ret->v, &ret->n, p);
	}
	return 0;
}

/* 1: the thread is inside; 2: as good as out, *regs are what it has to have; 0: outside. */
static int where_is(const struct dtask *k, const struct found *f, struct user_regs_struct *regs)
{
	const struct map *vdso = f->vdso;

	for (size_t i = 0; i < f->n; i++)
		if (regs->rip >= f->v[i]->start_va && regs->rip < f->v[i]->end_va)
			return 1;
	if (!vdso || regs->rip < vdso->start_va || regs->rip >= vdso->end_va)
		return 0;
	return ledge_left(k->t->proc_fd, vdso->start_va, vdso->end_va - vdso->start_va, regs);
}

/* On to where its next system call begins or ends. What signals cannot be blocked go to it. */
static int follow(pid_t tid, uint64_t deadline_ns)
{
	struct ptrace_stop stop = { .kind = PTRACE_STOP_NONE };
	int sig = 0, err;

	do {
		err = ptrace_syscall(tid, sig);
		if (err >= 0)
			err = ptrace_wait(tid, deadline_ns, &stop);
		if (err >= 0 && stop.kind == PTRACE_STOP_DIED)
			err = err_say(ESRCH, "it was killed");
		sig = stop.kind == PTRACE_STOP_SIGNAL ? stop.sig : 0;
	} while (err >= 0 && stop.kind != PTRACE_STOP_SYSCALL);
	return err;
}

/* From the end of a system call to where an interrupt stops it: before the next instruction. */
static int settle(pid_t tid, uint64_t deadline_ns)
{
	struct ptrace_stop stop = { .kind = PTRACE_STOP_NONE };
	int err = ptrace_interrupt(tid);

	if (err >= 0)
		err = ptrace_cont(tid, 0);
	if (err >= 0)
		err = ptrace_wait_stop(tid, deadline_ns, &stop);
	return err >= 0 && stop.kind == PTRACE_STOP_DIED ? err_say(ESRCH, "it was killed") : err;
}

/* Returns 1 if it was inside. */
static int bring_home(const struct dtask *k, const struct found *f, pid_t tid, struct user_regs_struct regs)
{
	uint64_t deadline = trace_now_ns() + PATIENCE_NS;
	int where = where_is(k, f, &regs), err = where;
	bool called = false;

	if (where <= 0)
		return where;
	if (where == 1) /* its own mask comes back on the way; a handler before that would come back here later */
		err = ptrace_set_sigmask(tid, ~UINT64_C(0));
	while (err >= 0 && where == 1) {
		called = true;
		err = follow(tid, deadline);
		if (err >= 0)
			err = ptrace_get_regs(tid, &regs);
		if (err >= 0)
			err = where = where_is(k, f, &regs);
		if (err > 0 && trace_now_ns() > deadline)
			err = err_say(ETIMEDOUT, "it does not leave what a thaw that was killed has left: try again later");
	}
	if (err >= 0 && called)
		err = settle(tid, deadline);
	if (err >= 0 && where == 2)
		err = ptrace_set_regs(tid, &regs);
	return err < 0 ? err : 1;
}

static int bring_all(struct dump *d, struct dtask *k, const struct found *f, struct arena *a)
{
	int moved = 0;

	for (size_t i = 0; i < k->t->nthreads; i++) {
		struct dthread *th = &k->threads[i];
		int err = err_ctx(bring_home(k, f, th->th->tid, th->regs), "thread %d", th->th->tid);

		if (err > 0) {
			moved++;
			err = facts_held(d, th, a);
		}
		if (err < 0)
			return err;
	}
	return moved;
}

/* One that was not written to since it was mapped has nothing to hide; its flags, when they were read, tell. */
static int sweep(struct dtask *k)
{
	const struct dthread *leader = &k->threads[0];
	struct ledge_owner o = { leader->th->sigmask, leader->regs.rsp, 0 };
	const struct map *vdso = maps_named(k->t->maps, k->t->nmaps, "[vdso]");
	int n, stay;

	if (!vdso || (vdso->page_len && !vdso->anon_len))
		return 0;
	for (size_t i = 0; i < k->t->nmaps; i++)
		if (o.stack_va >= k->t->maps[i].start_va && o.stack_va < k->t->maps[i].end_va)
			o.stack_end_va = k->t->maps[i].end_va;
	n = ledge_sweep(k->t->proc_fd, vdso->start_va, vdso->end_va - vdso->start_va, &o, &stay);
	k->unclean |= stay > 0;
	return n;
}

/* Who was sent there and has not left, but is not there, is in a handler and comes back. */
static int unmap_all(struct dtask *k, const struct found *f)
{
	int err = 0, n = 0;

	k->unclean = false;
	for (size_t i = 0; err >= 0 && i < f->n; i++) {
		const struct piece *p = f->v[i];

		if (p->head.sent == p->head.gone)
			err = remote_unmap(k, p->start_va, p->end_va - p->start_va);
		else
			k->unclean = true;
		n += p->head.sent == p->head.gone;
	}
	return err < 0 ? err : n;
}

static int clear(struct dump *d, struct dtask *k, struct arena *a)
{
	struct found f;
	int err = find(k, a, &f), moved, unmapped = 0, swept;

	moved = err < 0 ? err : bring_all(d, k, &f, a);
	err = moved;
	if (moved > 0) /* one of them may have unmapped something */
		err = outside_look_again(d, k, a);
	if (moved > 0 && err >= 0)
		err = find(k, a, &f);
	if (err >= 0)
		err = unmapped = unmap_all(k, &f);
	if (err > 0)
		err = outside_look_again(d, k, a);
	swept = err < 0 ? err : sweep(k);
	if (swept >= 0 && (moved || unmapped || swept))
		log_info("task %d (%s): took away what a thaw that was killed had left (%d mappings, %d ledges; %d threads were not at home)",
			 k->t->pid, k->t->stat.comm, unmapped, swept, moved);
	if (swept >= 0 && k->unclean)
		log_info("task %d (%s): what a thaw that was killed has left stays: a thread of it is to go home through it",
			 k->t->pid, k->t->stat.comm);
	return swept < 0 ? swept : 0;
}

int leftover_clear(struct dump *d)
{
	return hands_tasks(d, clear);
}

struct visit {
	const struct opts *opts;
	pid_t pid;
};

/* Returns 1 if it has to be done once more. */
static int look_in(const struct visit *v)
{
	struct snap *s = snap_new();
	struct dump d = { .snap = s, .undo = { .a = s->a }, .keeper.sock = -1, .memory_only = true };
	int err;

	d.kinds = (struct dumping){ .opts = v->opts, .snap = s, .a = s->a, .undo = &d.undo };
	err = seize_tree(v->pid, (uint64_t)v->opts->timeout * 1000000000u, 0, s->a, &d.seized);
	if (err < 0)
		return err;
	err = facts_see(&d);
	outside_cancel(&d);
	facts_begin_again(&d);
	seize_release(d.seized, 0);
	facts_done(&d);
	for (size_t i = 0; !err && i < d.kinds.ntasks; i++)
		err = d.tasks[i].unclean;
	return err;
}

static int visit(void *arg)
{
	uint64_t end = trace_now_ns() + PATIENCE_NS / 10;
	int err;

	while ((err = look_in(arg)) == 1 && trace_now_ns() < end && !guard_check())
		(void)!poll(NULL, 0, AGAIN_MS);
	return err;
}

int leftover_visit(const struct opts *o, pid_t pid, int err)
{
	struct visit v = { o, pid };
	char why[1024];

	snprintf(why, sizeof(why), "%s", err_text());
	/* mostly it is not there any more, which is as good */
	if (guard_run(visit, &v, true) < 0)
		log_info("looking for what the killed engine has left: %s", err_text());
	return err_adopt(-err, why);
}
