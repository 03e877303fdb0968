/* SPDX-License-Identifier: Apache-2.0 */
/*
 * General registers (regs.h). Runs in the engine, on registers that ptrace gave.
 *
 * A thread that waits in a system call is stopped with orig_ax = the number of
 * the call, ip behind the instruction and ax = one of the kernel's private
 * -ERESTART codes. Resumed as it is, the kernel would act on the code; a
 * restored thread starts outside of any call, so the image has to hold what the
 * kernel would have made of it:
 *
 *   -ERESTARTSYS, -ERESTARTNOINTR, -ERESTARTNOHAND: no handler is to run first,
 *     so the call starts again: ip back on the instruction, ax = the call.
 *   -ERESTART_RESTARTBLOCK: calls with a relative time-out (nanosleep, poll,
 *     futex). The time left is in the kernel only and cannot be put back. Starting
 *     again is right for them too: a time-out is a lower bound, and a program
 *     without signal handlers has never been prepared for EINTR. A sleep that lets
 *     the kernel write the time left into its own request (sleep(), usleep() of
 *     glibc, sleep_for() of C++) goes on to the nanosecond. One that has it written
 *     elsewhere gets EINTR: such a program asks for it in order to go on by itself.
 *     A call that had been restarted before (a stop by a debugger, or an earlier dump)
 *     is restart_syscall() by now, and only the code in front of it can tell what it
 *     was: libc loads the number right there. Where it cannot: EINTR, as after a signal.
 *
 *   -EINTR: some calls give it to whoever interrupts them, a tracer included. The
 *     program, which knows of no tracer, is to see nothing of it: such a call starts again as well
 *     (regs_begin_again()), unless there is a signal whose handler it may wait for. Once a handler
 *     has run, orig_ax is -1.
 *
 * Signals that are pending and not blocked are delivered after the restart; the
 * kernel does it before, but either order may happen to a running program.
 */
#include "arch/x86_64/regs.h"

#include <inttypes.h>
#include <linux/rseq.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

/* Never seen by programs, so no header has them. */
enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };
enum { SYSCALL_LEN = 2 };
enum { USER_CS = 0x33, USER32_CS = 0x23, USER_DS = 0x2b };

ThreadInfoX86 *regs_info(struct arena *a, CoreEntry *core)
{
	ThreadInfoX86 *info = core->thread_info;

	if (info)
		return info;
	info = arena_msg(a, thread_info_x86, ThreadInfoX86);
	info->gpregs = arena_msg(a, user_x86_regs_entry, UserX86RegsEntry);
	info->fpregs = arena_msg(a, user_x86_fpregs_entry, UserX86FpregsEntry);
	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->thread_info = info;
	return info;
}

int regs_check_live(const struct user_regs_struct *regs)
{
	return (regs->cs & 0xffff) == USER_CS ? 0 : err_say(ENOTSUP, "a 32-bit program is not supported yet");
}

/* 0: there is nothing at va (any more), which is for the kernel to punish, not for us. */
static int peek(pid_t tid, uint64_t va, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)va, len }; // NOLINT(performance-no-int-to-ptr)

	return process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

/*
 * The kernel aborts a sequence whenever its thread was scheduled away, which has
 * happened to every stopped thread. But it looks when the thread returns to its
 * program, and the first return after the stop is into thaw's questions: the
 * mark would be cleared there and the sequence go on half-way, on another CPU.
 * A thread inside a system call is in none: they must not make any.
 */
int regs_leave_rseq(pid_t tid, const struct ptrace_rseq *r, struct user_regs_struct *regs)
{
	uint64_t cs_va = 0;
	struct rseq_cs cs = { 0 };
	uint32_t sig = 0;

	if (!r->abi_va || (int64_t)regs->orig_rax >= 0)
		return 0;
	if (!peek(tid, r->abi_va + offsetof(struct rseq, rseq_cs), &cs_va, sizeof(cs_va)) || !cs_va ||
	    !peek(tid, cs_va, &cs, sizeof(cs)))
		return 0;
	if (cs.version || regs->rip - cs.start_ip >= cs.post_commit_offset)
		return 0;
	if (cs.abort_ip < sizeof(sig) || !peek(tid, cs.abort_ip - sizeof(sig), &sig, sizeof(sig)) ||
	    sig != r->signature)
		return err_say(EINVAL, "the restartable sequence at 0x%" PRIx64 " names no valid abort handler", cs_va);
	regs->rip = cs.abort_ip;
	return 1;
}

/* Whether a call with a relative time-out may simply start again (see above). */
static bool starts_again(const struct user_regs_struct *r)
{
	switch (r->orig_rax) {
	case SYS_nanosleep:
		return !r->rsi || r->rsi == r->rdi;
	case SYS_clock_nanosleep:
		return !r->r10 || r->r10 == r->rdx;
	case SYS_restart_syscall:
		return false;
	default:
		return true;
	}
}

void regs_restart(struct user_regs_struct *r)
{
	int64_t ax = (int64_t)r->rax;

	if ((int64_t)r->orig_rax < 0)
		return;
	if (ax == -ERESTART_RESTARTBLOCK && !starts_again(r)) {
		r->rax = (uint64_t)-EINTR;
	} else if (ax == -ERESTARTSYS || ax == -ERESTARTNOINTR || ax == -ERESTARTNOHAND ||
		   ax == -ERESTART_RESTARTBLOCK) {
		r->rax = r->orig_rax;
		r->rip -= SYSCALL_LEN;
	}
}

/* Can it end with EINTR when it did nothing and no handler ran? signal(7) has the list; read(), write(): of sockets. */
static bool ends_early(uint64_t nr)
{
	static const uint16_t call[] = {
		SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_rt_sigtimedwait, SYS_semop, SYS_semtimedop,
		SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_accept, SYS_accept4, SYS_connect, SYS_recvfrom,
		SYS_recvmsg, SYS_recvmmsg, SYS_sendto, SYS_sendmsg, SYS_sendmmsg,
	};

	for (size_t i = 0; i < sizeof(call) / sizeof(*call); i++)
		if (call[i] == nr)
			return true;
	return false;
}

bool regs_begin_again(struct user_regs_struct *r)
{
	if ((int64_t)r->rax != -EINTR || !ends_early(r->orig_rax))
		return false;
	r->rax = r->orig_rax;
	r->rip -= SYSCALL_LEN;
	return true;
}

/* What restart_syscall() goes on with, if the code says so: mov $number, %eax; syscall. */
static void find_call(pid_t tid, struct user_regs_struct *r)
{
	struct {
		uint8_t mov;
		uint32_t nr;
		uint8_t call[SYSCALL_LEN];
	} __attribute__((packed)) code = { 0 };

	if (!tid || r->orig_rax != SYS_restart_syscall || !peek(tid, r->rip - sizeof(code), &code, sizeof(code)) ||
	    code.mov != 0xb8 || code.call[0] != 0x0f || code.call[1] != 0x05)
		return;
	if (code.nr == SYS_poll || code.nr == SYS_futex || code.nr == SYS_nanosleep || code.nr == SYS_clock_nanosleep)
		r->orig_rax = code.nr;
}

/* The names differ by a letter or two only, so one list serves. */
#define REGS(X)                                                                                              \
	X(r15, r15) X(r14, r14) X(r13, r13) X(r12, r12) X(bp, rbp) X(bx, rbx) X(r11, r11) X(r10, r10)        \
	X(r9, r9) X(r8, r8) X(ax, rax) X(cx, rcx) X(dx, rdx) X(si, rsi) X(di, rdi) X(orig_ax, orig_rax)      \
	X(ip, rip) X(cs, cs) X(flags, eflags) X(sp, rsp) X(ss, ss) X(fs_base, fs_base) X(gs_base, gs_base)   \
	X(ds, ds) X(es, es) X(fs, fs) X(gs, gs)

void regs_dump(struct arena *a, pid_t tid, const struct user_regs_struct *regs, CoreEntry *core)
{
	UserX86RegsEntry *e = regs_info(a, core)->gpregs;
	struct user_regs_struct r = *regs;

	find_call(tid, &r);
	regs_restart(&r);
#define COPY(to, from) e->to = r.from;
	REGS(COPY)
#undef COPY
	e->has_mode = true;
	e->mode = USER_X86_REGS_MODE__NATIVE;
}

int regs_check(const CoreEntry *core)
{
	const UserX86RegsEntry *e;
	const UserX86CetEntry *cet;

	if (core->mtype != CORE_ENTRY__MARCH__X86_64 || !core->thread_info)
		return err_say(ENOTSUP, "its image is not of an x86-64 machine");
	e = core->thread_info->gpregs;
	if ((e->has_mode && e->mode != USER_X86_REGS_MODE__NATIVE) || e->cs == USER32_CS)
		return err_say(ENOTSUP, "a 32-bit program is not supported yet");
	if (e->cs != USER_CS || (e->ss && e->ss != USER_DS))
		return err_say(EINVAL, "its code and stack segments 0x%" PRIx64 " and 0x%" PRIx64 " are none of a user program",
			       e->cs, e->ss);
	/* ds and es have no effect in 64-bit code; fs and gs would lose their bases, which programs do use */
	if (e->fs || e->gs)
		return err_say(ENOTSUP, "segment selectors in fs and gs are not supported yet");
	cet = core->thread_info->fpregs->xsave ? core->thread_info->fpregs->xsave->cet : NULL;
	if (cet && cet->cet)
		return err_say(ENOTSUP, "a user shadow stack is not supported yet");
	return 0;
}
