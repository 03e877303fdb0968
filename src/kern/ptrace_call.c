/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One system call in a stopped thread (ptrace.h).
 *
 * From the stop at the call's entry the thread is sent on with an interrupt
 * pending, so it runs the call and stands again before it gets back to its
 * program. Two things are why it is done so:
 *
 *   A single step would be shorter. But its SIGTRAP is forced, and the kernel makes
 *   a forced signal that is blocked or ignored the default action: the
 *   program would lose what it had arranged for SIGTRAP.
 *
 *   A stop at the call's exit is no place to put registers back: the kernel restarts an
 *   interrupted call only where it looks for signals, which is where an interrupt stops.
 *
 * All signals are blocked for it, which leaves SIGSTOP; it is passed on, and the thread goes on to the call. The mask
 * comes after the registers: should the tracer be killed, what lies behind ip_va may put the mask back.
 */
#include "kern/ptrace.h"

static int wait_for_entry(pid_t tid, uint64_t deadline_ns)
{
	struct ptrace_stop stop;
	int r;

	for (;;) { /* a stop that was on its way may come first */
		r = ptrace_wait(tid, deadline_ns, &stop);
		if (r < 0)
			return r;
		if (stop.kind == PTRACE_STOP_SYSCALL)
			return 0;
		if (stop.kind == PTRACE_STOP_DIED)
			return err_say(ESRCH, "thread %d was killed", tid);
		if (stop.kind == PTRACE_STOP_SIGNAL && stop.sig != SIGSTOP)
			return err_say(EIO, "thread %d got signal %d on its way into a system call", tid, stop.sig);
		r = ptrace_syscall(tid, stop.kind == PTRACE_STOP_SIGNAL ? SIGSTOP : 0);
		if (r < 0)
			return r;
	}
}

int ptrace_call_begin(pid_t tid, const struct user_regs_struct *base, uint64_t ip_va, long nr, const uint64_t a[6])
{
	struct user_regs_struct regs = *base;
	int r;

	regs.rip = ip_va;
	regs.rax = (uint64_t)nr;
	regs.orig_rax = UINT64_MAX; /* in no call: nothing to restart */
	regs.rdi = a[0];
	regs.rsi = a[1];
	regs.rdx = a[2];
	regs.r10 = a[3];
	regs.r8 = a[4];
	regs.r9 = a[5];
	r = ptrace_set_regs(tid, &regs);
	if (!r)
		r = ptrace_set_sigmask(tid, UINT64_MAX);
	return r < 0 ? r : ptrace_syscall(tid, 0);
}

int ptrace_call_enter(pid_t tid, uint64_t deadline_ns)
{
	int r = wait_for_entry(tid, deadline_ns);

	if (!r)
		r = ptrace_interrupt(tid);
	return r < 0 ? r : ptrace_cont(tid, 0);
}

int ptrace_call_end(pid_t tid, uint64_t deadline_ns, struct user_regs_struct *ret_after)
{
	struct ptrace_stop stop;
	int r = ptrace_wait_stop(tid, deadline_ns, &stop);

	if (!r && stop.kind == PTRACE_STOP_DIED)
		return err_say(ESRCH, "thread %d was killed", tid);
	return r < 0 ? r : ptrace_get_regs(tid, ret_after);
}

int ptrace_call(pid_t tid, const struct user_regs_struct *base, uint64_t ip_va, long nr, const uint64_t a[6],
		uint64_t deadline_ns, struct user_regs_struct *ret_after)
{
	int r = ptrace_call_begin(tid, base, ip_va, nr, a);

	if (!r)
		r = ptrace_call_enter(tid, deadline_ns);
	return r < 0 ? r : ptrace_call_end(tid, deadline_ns, ret_after);
}
