/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a restore: commit, and nothing of thaw stays in the tasks.
 *
 * All threads stand at the commit. The leaders are stopped under ptrace first;
 * then one store releases everybody, and that store is the restore: a thaw that
 * is killed before it leaves nothing, one that is killed after it leaves a tree
 * that runs (at worst with the hole still mapped).
 *
 * The other threads take their registers from their signal frames by themselves.
 * When the last of a task has left the hole, its leader is sent through its own
 * sigreturn, and, standing right behind it with its final registers, made to
 * unmap the hole. Its signals stay blocked for that one system call.
 */
#include <fcntl.h>
#include <sched.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/io.h"
#include "base/log.h"
#include "base/trace.h"
#include "kern/ptrace.h"
#include "prog/blob_syms.h"
#include "restore/rt.h"

static const uint64_t PATIENCE_NS = 5000000000u;

static bool in_hole(const struct restore *r, uint64_t va)
{
	return va >= r->lay.hole_va && va < r->lay.end_va;
}

static int stop_leader(const struct rtask *k)
{
	struct ptrace_stop stop;
	int err = ptrace_seize(k->pid, PTRACE_O_TRACESYSGOOD);

	if (err >= 0)
		err = ptrace_interrupt(k->pid);
	if (err >= 0)
		err = ptrace_wait_stop(k->pid, trace_now_ns() + PATIENCE_NS, &stop);
	if (err >= 0 && stop.kind == PTRACE_STOP_DIED)
		return err_say(ESRCH, "it died while it waited for the commit");
	return err;
}

/*
 * Has the thread left the blob? The kernel shows where a blocked thread is
 * ("nr args sp pc"); one that is running is stopped for a moment and asked.
 */
static int thread_left(struct restore *r, pid_t pid, pid_t tid)
{
	char path[64], text[256];
	struct user_regs_struct regs;
	struct ptrace_stop stop;
	unsigned long long pc;
	auto_close int fd = -1;
	const char *last;
	ssize_t n;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1; /* it ended: it had left */
	n = io_read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 1;
	text[n] = 0;
	last = strrchr(text, ' ');
	if (strncmp(text, "running", 7) && last && sscanf(last, " %llx", &pc) == 1)
		return !in_hole(r, pc);
	if (ptrace_seize(tid, 0) < 0)
		return 1;
	err = ptrace_interrupt(tid);
	if (err >= 0)
		err = ptrace_wait_stop(tid, trace_now_ns() + PATIENCE_NS, &stop);
	if (err >= 0)
		err = ptrace_get_regs(tid, &regs);
	(void)!ptrace_detach(tid, 0);
	return err < 0 ? 1 : !in_hole(r, regs.rip);
}

static void wait_for_threads(struct restore *r, const struct rtask *k)
{
	uint64_t deadline = trace_now_ns() + PATIENCE_NS;

	for (size_t i = 1; i < k->t->ncores; i++)
		while (!thread_left(r, k->pid, (pid_t)k->t->pst->threads[i]) && trace_now_ns() < deadline)
			sched_yield();
}

/* Runs one step of the tracee up to the next system call stop. A signal that comes up waits: all are blocked. */
static int step(pid_t pid)
{
	struct ptrace_stop stop;
	int err = ptrace_syscall(pid, 0);

	if (err >= 0)
		err = ptrace_wait(pid, trace_now_ns() + PATIENCE_NS, &stop);
	/* a stop that was asked for before and is reported only now */
	while (err >= 0 && (stop.kind == PTRACE_STOP_EVENT || stop.kind == PTRACE_STOP_GROUP)) {
		err = ptrace_syscall(pid, 0);
		if (err >= 0)
			err = ptrace_wait(pid, trace_now_ns() + PATIENCE_NS, &stop);
	}
	if (err >= 0 && stop.kind != PTRACE_STOP_SYSCALL)
		return err_say(EIO, "stopped in an unexpected way (kind %d, signal %d)", stop.kind, stop.sig);
	return err;
}

/* A system call of the leader, made with the blob's own instruction: from its entry to its exit. */
static int run_syscall(struct restore *r, pid_t pid, const struct user_regs_struct *base, uint64_t nr, uint64_t a,
		       uint64_t b, struct user_regs_struct *ret_after)
{
	struct user_regs_struct regs = *base;
	int err;

	regs.rip = r->lay.hole_va + blob_syscall_off();
	regs.rax = nr;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = a;
	regs.rsi = b;
	err = ptrace_set_regs(pid, &regs);
	if (err >= 0)
		err = step(pid);
	if (err >= 0)
		err = step(pid);
	return err >= 0 ? ptrace_get_regs(pid, ret_after) : err;
}

static int send_home(struct restore *r, const struct rtask *k)
{
	struct user_regs_struct regs, home, after;
	uint64_t mask, hole_len = r->lay.end_va - r->lay.hole_va;
	int err = ptrace_get_regs(k->pid, &regs);

	if (err < 0)
		return err;
	regs.rsp = k->frame_va + 8; /* as pie_sigreturn does it */
	err = run_syscall(r, k->pid, &regs, SYS_rt_sigreturn, 0, 0, &home);
	if (err >= 0)
		err = ptrace_get_sigmask(k->pid, &mask);
	if (err >= 0)
		err = ptrace_set_sigmask(k->pid, ~UINT64_C(0));
	if (err >= 0)
		err = run_syscall(r, k->pid, &home, SYS_munmap, r->lay.hole_va, hole_len, &after);
	if (err >= 0 && after.rax)
		log_warn("task %d: the restorer's memory could not be unmapped: %s", k->pid, strerror((int)-after.rax));
	if (err >= 0)
		err = ptrace_set_regs(k->pid, &home);
	if (err >= 0)
		err = ptrace_set_sigmask(k->pid, mask);
	return err;
}

static bool stays_stopped(const struct restore *r, const struct rtask *k)
{
	return r->kinds.opts->leave_stopped || k->t->cores[0]->tc->task_state == TASK_STOPPED;
}

static int stop_signal(const struct rtask *k)
{
	const TaskCoreEntry *tc = k->t->cores[0]->tc;

	return tc->has_stop_signo && tc->stop_signo ? (int)tc->stop_signo : SIGSTOP;
}

static void commit(struct restore *r)
{
	__atomic_store_n(&r->board->commit, 1, __ATOMIC_SEQ_CST);
	r->committed = true;
	syscall(SYS_futex, &r->board->commit, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
}

int finish_release(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];

		if (k->role == RTASK_ALIVE)
			err = err_ctx(stop_leader(k), "task %d (%s)", k->pid, snap_comm(k->t));
		if (err < 0)
			return err;
	}
	guard_too_late();
	commit(r);
	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];

		if (k->role != RTASK_ALIVE)
			continue;
		wait_for_threads(r, k);
		/* from here on nothing can be taken back: what fails is said, the tree lives */
		err = send_home(r, k);
		if (err < 0)
			log_warn("task %d (%s): %s", k->pid, snap_comm(k->t), err_text());
		(void)!ptrace_detach(k->pid, stays_stopped(r, k) ? stop_signal(k) : 0);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	return 0;
}
