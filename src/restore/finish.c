/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a restore: commit, and nothing of thaw stays in the tasks.
 *
 * All threads stand at the commit. The leaders are stopped under ptrace first;
 * then one store releases everybody, and that store is the restore: a thaw that
 * is killed before it leaves nothing, one that is killed after it leaves a tree
 * that runs (at worst with the hole still mapped: dump/leftover.h). Then every task goes home (home.h); a tree
 * of many is shared out among several tracers.
 *
 * One thread of a CUDA process goes before the commit (gpu_restore.h): it only gets its signals back here.
 */
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/guard.h"
#include "base/trace.h"
#include "kern/ptrace.h"
#include "kern/tracers.h"
#include "restore/gpu_restore.h"
#include "restore/home.h"

static const uint64_t PATIENCE_NS = 5000000000u;

enum { TOGETHER = 16 /* so many of a tracer's tasks go home side by side; each takes a descriptor meanwhile */ };

struct finish {
	const struct restore *r;
	const struct rtask **tasks; /* all that live */
	uint8_t *hand;              /* whose they are */
	size_t n;
};

static pid_t tid_of(const struct rtask *k, size_t i)
{
	return (pid_t)k->t->pst->threads[i];
}

static int begin_stop(pid_t tid)
{
	int err = ptrace_seize(tid, PTRACE_O_TRACESYSGOOD);

	return err < 0 ? err : ptrace_interrupt(tid);
}

static int wait_stopped(pid_t tid)
{
	struct ptrace_stop stop;
	int err = ptrace_wait_stop(tid, trace_now_ns() + PATIENCE_NS, &stop);

	if (err >= 0 && stop.kind == PTRACE_STOP_DIED)
		return err_say(ESRCH, "it died while it waited for the commit");
	return err;
}

static int each_traced(const struct finish *f, size_t me, int (*fn)(pid_t tid))
{
	for (size_t i = 0; i < f->n; i++)
		for (size_t j = 0; f->hand[i] == me && j < f->tasks[i]->t->ncores; j++) {
			const struct rtask *k = f->tasks[i];
			int err = home_traced(f->r, k, j) ? fn(tid_of(k, j)) : 0;

			if (err < 0)
				return err_ctx(err, "task %d (%s)", k->pid, snap_comm(k->t));
		}
	return 0;
}

int finish_ahead(const struct restore *r, const struct rtask *k, size_t thread, uint64_t *ret_mask)
{
	struct user_regs_struct home;
	pid_t tid = tid_of(k, thread);
	int err = begin_stop(tid);

	if (err >= 0)
		err = wait_stopped(tid);
	if (err >= 0)
		err = home_send(r, k, thread, &home);
	if (err >= 0)
		err = ptrace_get_sigmask(tid, ret_mask);
	if (err >= 0)
		err = ptrace_set_sigmask(tid, UINT64_MAX);
	if (err >= 0)
		err = ptrace_detach(tid, 0) ? err_say(ESRCH, "it has ended") : 0;
	return err_ctx(err, "thread %d", tid);
}

/* From the commit on they take signals like everybody. */
static int unmask_ahead(const struct finish *f, size_t me)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < f->n; i++) {
		const struct rtask *k = f->tasks[i];
		uint64_t mask;
		size_t thread = f->hand[i] == me ? gpu_restore_thread(f->r, k, &mask) : 0;

		if (thread)
			err = err_ctx(ptrace_set_sigmask(tid_of(k, thread), mask), "task %d (%s)", k->pid, snap_comm(k->t));
	}
	return err;
}

static int stop_share(void *ctx, size_t me, struct arena *a)
{
	const struct finish *f = ctx;
	int err = each_traced(f, me, begin_stop);

	(void)a;
	if (err >= 0)
		err = each_traced(f, me, wait_stopped);
	return err < 0 ? err : unmask_ahead(f, me);
}

static void commit(const struct restore *r)
{
	__atomic_store_n(&r->board->commit, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &r->board->commit, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
}

static void go_home(struct home *h, size_t n)
{
	for (unsigned step = 0; step < HOME_STEPS; step++)
		for (size_t i = 0; i < n; i++)
			home_step(&h[i], step);
	for (size_t i = 0; i < n; i++)
		home_end(&h[i]);
}

static int home_share(void *ctx, size_t me, struct arena *a)
{
	const struct finish *f = ctx;
	struct home h[TOGETHER];
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (f->hand[i] != me)
			continue;
		h[n++] = (struct home){ .r = f->r, .k = f->tasks[i], .a = a };
		if (n == TOGETHER) {
			go_home(h, n);
			n = 0;
		}
	}
	go_home(h, n);
	return 0;
}

static void share_out(struct finish *f, struct tracers *crew)
{
	const struct rtree *tree = &f->r->tree;

	f->tasks = arena_alloc(f->r->kinds.a, tree->n * sizeof(*f->tasks));
	f->hand = arena_alloc(f->r->kinds.a, tree->n);
	for (size_t i = 0; i < tree->n; i++)
		if (tree->tasks[i]->role == RTASK_ALIVE)
			f->tasks[f->n++] = tree->tasks[i];
	tracers_expect(crew, f->n);
	for (size_t i = 0; i < f->n; i++)
		f->hand[i] = tracers_choose(crew);
}

int finish_release(struct restore *r)
{
	struct tracers *crew = tracers_new(r->kinds.a, 0);
	struct finish f = { .r = r };
	int err;

	share_out(&f, crew);
	err = tracers_run(crew, stop_share, &f);
	if (err >= 0) {
		guard_too_late();
		commit(r);
		if (r->unclean)
			*r->unclean = r->root;
		/* from here on nothing can be taken back: what fails is said, the tree lives */
		err = tracers_run(crew, home_share, &f);
		if (r->unclean)
			*r->unclean = 0;
		prctl(PR_SET_CHILD_SUBREAPER, 0);
	}
	tracers_end(crew);
	return err;
}
