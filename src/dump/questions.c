/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the target: what only a task itself can be told (its signal
 * actions, its timers) is asked by programs that the blob runs in its threads.
 *
 * All threads of all tasks run at the same time; each parks when it is done, and
 * is put back to its own registers (remote.c).
 */
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>

#include "arch/x86_64/sigframe.h"
#include "base/trace.h"
#include "dump/dt.h"

static const uint64_t PATIENCE_NS = 10000000000u;

static int in_task(int err, const struct dtask *k)
{
	return err_ctx(err, "task %d (%s)", k->t->pid, k->t->stat.comm);
}

static size_t count_kinds(void)
{
	size_t n = 0;

	while (kind_tasks[n])
		n++;
	return n;
}

static void assemble(struct dump *d, struct dtask *k)
{
	size_t kinds = count_kinds();

	k->asked = arena_alloc(d->kinds.a, (kinds + 1) * sizeof(void *));
	for (size_t i = 0; i < k->t->nthreads; i++) {
		struct dthread *th = &k->threads[i];

		th->prog = prog_begin(&k->space);
		th->asked = arena_alloc(d->kinds.a, (kinds + 1) * sizeof(void *));
		for (size_t j = 0; j < kinds; j++) {
			if (!i && kind_tasks[j]->ask)
				k->asked[j] = kind_tasks[j]->ask(&d->kinds, k->t, &th->prog);
			if (kind_tasks[j]->ask_thread)
				th->asked[j] = kind_tasks[j]->ask_thread(&d->kinds, th->th, &th->prog);
		}
		th->frame_va = sigframe_from_ptrace(&k->space, &d->xsave, &th->regs, th->xsave, th->xsave_len,
						    th->th->sigmask);
		prog_do(&th->prog, OP_PARK, th->frame_va);
	}
}

static int check_answers(const struct dtask *k)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < k->t->nthreads; i++)
		err = err_ctx(prog_results(&k->space, k->threads[i].prog.start_va), "thread %d", k->t->threads[i].tid);
	return err;
}

static int start_threads(struct dtask *k)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < k->t->nthreads; i++)
		err = remote_start(k, &k->threads[i]);
	return err;
}

/*
 * Sends on what stopped once more on its way: ptrace_interrupt() says why that may be. And SIGSTOP cannot
 * be blocked: it is let through, the process stands in a group stop, and this thread of it goes on.
 */
static int keep_going(struct dtask *k)
{
	for (size_t i = 0; i < k->t->nthreads; i++) {
		pid_t tid = k->t->threads[i].tid;
		struct ptrace_stop stop;
		int err = ptrace_poll(tid, &stop);

		if (err < 0)
			return err;
		if (stop.kind == PTRACE_STOP_NONE)
			continue;
		if (stop.kind == PTRACE_STOP_EVENT || stop.kind == PTRACE_STOP_GROUP)
			err = ptrace_cont(tid, 0);
		else if (stop.kind == PTRACE_STOP_SIGNAL && stop.sig == SIGSTOP)
			err = ptrace_cont(tid, SIGSTOP);
		else {
			k->threads[i].running = false;
			err = err_say(ESRCH, "thread %d was ended (signal %d) while it was asked", tid, stop.sig);
		}
		if (err < 0)
			return err;
	}
	return 0;
}

static int wait_parked(struct dtask *k)
{
	uint64_t deadline = trace_now_ns() + PATIENCE_NS;

	while (__atomic_load_n(&k->board->arrived, __ATOMIC_ACQUIRE) < k->t->nthreads) {
		uint32_t heard = __atomic_load_n(&k->board->bell, __ATOMIC_ACQUIRE);
		struct timespec t = { .tv_nsec = 2 * 1000 * 1000 };
		int err = 0;

		if (__atomic_load_n(&k->board->arrived, __ATOMIC_ACQUIRE) >= k->t->nthreads)
			break;
		if (trace_now_ns() > deadline)
			return err_say(ETIMEDOUT, "its threads did not answer (%u of %zu did)", k->board->arrived, k->t->nthreads);
		if (syscall(SYS_futex, &k->board->bell, FUTEX_WAIT, heard, &t, NULL, 0) < 0 && errno == ETIMEDOUT)
			err = keep_going(k);
		if (err < 0)
			return err;
	}
	return 0;
}

int questions_ask(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++) {
		struct dtask *k = &d->tasks[i];

		err = remote_enter(d, k);
		if (err >= 0) {
			assemble(d, k);
			err = start_threads(k);
		}
		err = in_task(err, k);
	}
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = in_task(wait_parked(&d->tasks[i]), &d->tasks[i]);
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = in_task(remote_put_back(&d->tasks[i]), &d->tasks[i]);
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = in_task(check_answers(&d->tasks[i]), &d->tasks[i]);
	return err;
}
