/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the target: what only a task itself can be told (its signal
 * actions, its timers) is asked by programs that the blob runs in its threads.
 *
 * All threads of all tasks run at the same time; each parks when it is done. They are
 * put back to their own registers (remote.c) while the answers are read (nature.c).
 */
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>

#include "arch/x86_64/sigframe.h"
#include "base/trace.h"
#include "dump/dt.h"

static const uint64_t PATIENCE_NS = 10000000000u;

static size_t count_kinds(void)
{
	size_t n = 0;

	while (kind_tasks[n])
		n++;
	return n;
}

static int enter(struct dump *d, struct dtask *k, struct arena *a)
{
	(void)d;
	k->asked = arena_alloc(a, (count_kinds() + 1) * sizeof(void *));
	return remote_enter(k, a);
}

/* What the thread is asked, and how it goes home by itself. */
static int assemble(struct dump *d, struct dthread *th, struct arena *a)
{
	struct dtask *k = th->task;
	struct dumping kinds = d->kinds;

	kinds.a = a;
	remote_room(th, a);
	th->prog = prog_begin(&th->space);
	th->asked = arena_alloc(a, (count_kinds() + 1) * sizeof(void *));
	for (size_t j = 0; kind_tasks[j]; j++) {
		if (th == k->threads && kind_tasks[j]->ask)
			k->asked[j] = kind_tasks[j]->ask(&kinds, k->t, &th->prog);
		if (kind_tasks[j]->ask_thread)
			th->asked[j] = kind_tasks[j]->ask_thread(&kinds, th->th, &th->prog);
	}
	th->frame_va = sigframe_from_ptrace(&th->space, &d->xsave, &th->regs, th->xsave, th->xsave_len,
					    th->th->sigmask);
	prog_do(&th->prog, OP_PARK, th->frame_va);
	return 0;
}

static int start(struct dump *d, struct dthread *th, struct arena *a)
{
	(void)d, (void)a;
	return remote_start(th);
}

int questions_answered(const struct dthread *th)
{
	return err_ctx(prog_results(&th->space, th->prog.start_va), "thread %d", th->th->tid);
}

/*
 * Sends on what stopped once more on its way: ptrace_interrupt() says why that may be. And SIGSTOP cannot
 * be blocked: it is let through, the process stands in a group stop, and this thread of it goes on.
 */
static int keep_going(struct dump *d, struct dthread *th, struct arena *a)
{
	pid_t tid = th->th->tid;
	struct ptrace_stop stop = { .kind = PTRACE_STOP_NONE };
	int err = th->running ? ptrace_poll(tid, &stop) : 0;

	(void)d, (void)a;
	if (err < 0 || stop.kind == PTRACE_STOP_NONE)
		return err;
	if (stop.kind == PTRACE_STOP_EVENT || stop.kind == PTRACE_STOP_GROUP)
		return ptrace_cont(tid, 0);
	if (stop.kind == PTRACE_STOP_SIGNAL && stop.sig == SIGSTOP)
		return ptrace_cont(tid, SIGSTOP);
	th->running = false;
	return err_say(ESRCH, "thread %d was ended (signal %d) while it was asked", tid, stop.sig);
}

static int wait_parked(struct dump *d, const struct dtask *k)
{
	uint64_t deadline = trace_now_ns() + PATIENCE_NS;

	while (__atomic_load_n(&k->board->arrived, __ATOMIC_ACQUIRE) < k->t->nthreads) {
		uint32_t heard = __atomic_load_n(&k->board->bell, __ATOMIC_ACQUIRE);
		struct timespec t = { .tv_nsec = 2 * 1000 * 1000 };
		int err = 0;

		if (__atomic_load_n(&k->board->arrived, __ATOMIC_ACQUIRE) >= k->t->nthreads)
			break;
		if (trace_now_ns() > deadline)
			return err_say(ETIMEDOUT, "task %d (%s): its threads did not answer (%u of %zu did)", k->t->pid,
				       k->t->stat.comm, k->board->arrived, k->t->nthreads);
		if (syscall(SYS_futex, &k->board->bell, FUTEX_WAIT, heard, &t, NULL, 0) < 0 && errno == ETIMEDOUT)
			err = hands_threads(d, keep_going);
		if (err < 0)
			return err;
	}
	return 0;
}

int questions_ask(struct dump *d)
{
	int err = hands_tasks(d, enter);

	if (err >= 0)
		err = crew_finish(hands_crew(d, assemble));
	if (err >= 0)
		err = hands_threads(d, start);
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = wait_parked(d, &d->tasks[i]);
	return err;
}
