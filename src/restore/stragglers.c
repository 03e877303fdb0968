/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that go home by themselves, after the commit: when is the last of them out of the hole? (stragglers.h)
 * Whoever waits in the kernel is looked at from outside; one that runs is stopped for a moment and asked.
 */
#include "restore/stragglers.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "base/crew.h"
#include "base/io.h"
#include "base/trace.h"
#include "kern/ptrace.h"

static const uint64_t PATIENCE_NS = 5000000000u;

/* So often a thread that runs is looked at before it is stopped to be asked: mostly it is just on its way. */
enum { LOOKS = 10 };

static bool in_hole(const struct restore *r, uint64_t va)
{
	return va >= r->lay.hole_va && va < r->lay.end_va;
}

/*
 * Where a thread is: the kernel shows it of one that waits ("nr args sp pc"). 1: outside of the hole, or gone;
 * 0: inside; -EAGAIN: it runs.
 */
static int where_is(const struct restore *r, pid_t pid, pid_t tid)
{
	char path[64], text[256];
	unsigned long long pc;
	const char *last;
	auto_close int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -errno : io_read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return n == -ENOENT || n == -ESRCH ? 1 : -EAGAIN;
	text[n] = 0;
	last = strrchr(text, ' ');
	if (!strncmp(text, "running", 7) || !last || sscanf(last, " %llx", &pc) != 1)
		return -EAGAIN;
	return !in_hole(r, pc);
}

/* The same for one that always runs: it is stopped for a moment. A call that this ends early starts again. */
static int stop_and_ask(const struct restore *r, pid_t tid)
{
	struct user_regs_struct regs;
	struct ptrace_stop stop;
	int err = ptrace_seize(tid, 0), left = 0;

	if (err < 0)
		return err == -ESRCH;
	err = ptrace_interrupt(tid);
	if (err >= 0)
		err = ptrace_wait_stop(tid, trace_now_ns() + PATIENCE_NS, &stop);
	if (err >= 0 && stop.kind == PTRACE_STOP_DIED)
		return 1;
	if (err >= 0)
		err = ptrace_get_regs(tid, &regs);
	if (err >= 0) {
		left = !in_hole(r, regs.rip);
		if (regs_begin_again(&regs))
			(void)!ptrace_set_regs(tid, &regs);
	}
	(void)!ptrace_detach(tid, 0);
	return left;
}

struct leaving {
	const struct restore *r;
	const struct rtask *k;
	uint64_t deadline;
};

static int wait_for_thread(void *ctx, size_t i, struct arena *a)
{
	const struct leaving *w = ctx;
	pid_t tid = (pid_t)w->k->t->pst->threads[i + 1];
	int left, looks = 0;

	(void)a;
	while ((left = where_is(w->r, w->k->pid, tid)) <= 0) {
		if (left < 0 && ++looks % LOOKS == 0 && stop_and_ask(w->r, tid) > 0)
			break;
		if (trace_now_ns() > w->deadline)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

/* A look at each costs 15 us, so a crew does it. */
bool stragglers_wait(const struct restore *r, const struct rtask *k, struct arena *a)
{
	struct leaving w = { r, k, trace_now_ns() + PATIENCE_NS };

	return crew_finish(crew_start(a, k->t->ncores - 1, wait_for_thread, &w)) >= 0;
}
