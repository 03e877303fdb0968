/* SPDX-License-Identifier: Apache-2.0 */
/* What a stopped tracee holds: registers, masks, pending signals, rseq (ptrace.h). */
#include <elf.h>
#include <string.h>
#include <sys/uio.h>

#include "kern/ptrace.h"

#define SIGSET_LEN sizeof(uint64_t) /* the kernel's sigset_t */

static int regset(int request, pid_t tid, unsigned int note, struct iovec *iov, const char *what)
{
	if (ptrace((enum __ptrace_request)request, tid, (void *)(uintptr_t)note, iov) < 0)
		return err_set(errno, "ptrace %s of %d", what, tid);
	return 0;
}

int ptrace_get_regs(pid_t tid, struct user_regs_struct *ret_regs)
{
	struct user_regs_struct regs;
	struct iovec iov = { &regs, sizeof(regs) };
	int r = regset(PTRACE_GETREGSET, tid, NT_PRSTATUS, &iov, "getregs");

	if (r < 0)
		return r;
	if (iov.iov_len != sizeof(regs))
		return err_say(ENOTSUP, "task %d runs 32-bit code, which is not supported yet", tid);
	*ret_regs = regs;
	return 0;
}

int ptrace_set_regs(pid_t tid, const struct user_regs_struct *regs)
{
	struct user_regs_struct copy = *regs;
	struct iovec iov = { &copy, sizeof(copy) };

	return regset(PTRACE_SETREGSET, tid, NT_PRSTATUS, &iov, "setregs");
}

int ptrace_get_xsave(pid_t tid, void *buf, size_t cap, size_t *ret_len)
{
	struct iovec iov = { buf, cap };
	int r = regset(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &iov, "getxsave");

	if (r < 0)
		return r;
	/* the kernel cuts what does not fit, in silence */
	if (iov.iov_len >= cap)
		return err_say(ENOSPC, "the xsave area of task %d is longer than %zu bytes", tid, cap);
	*ret_len = iov.iov_len;
	return 0;
}

int ptrace_get_sigmask(pid_t tid, uint64_t *ret_mask)
{
	if (ptrace(PTRACE_GETSIGMASK, tid, SIGSET_LEN, ret_mask) < 0)
		return err_set(errno, "ptrace getsigmask of %d", tid);
	return 0;
}

int ptrace_set_sigmask(pid_t tid, uint64_t mask)
{
	if (ptrace(PTRACE_SETSIGMASK, tid, SIGSET_LEN, &mask) < 0)
		return err_set(errno, "ptrace setsigmask of %d", tid);
	return 0;
}

int ptrace_peek_siginfo(pid_t tid, bool shared, uint64_t off, siginfo_t *buf, size_t cap)
{
	struct __ptrace_peeksiginfo_args args = {
		.off = off,
		.flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0,
		.nr = cap > 1024 ? 1024 : (int)cap,
	};
	long n = ptrace(PTRACE_PEEKSIGINFO, tid, &args, buf);

	if (n < 0)
		return err_set(errno, "ptrace peeksiginfo of %d", tid);
	return (int)n;
}

int ptrace_get_rseq(pid_t tid, struct ptrace_rseq *ret_rseq)
{
	struct __ptrace_rseq_configuration conf;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(conf), &conf) < 0)
		return err_set(errno, "ptrace get_rseq_configuration of %d", tid);
	*ret_rseq = (struct ptrace_rseq){ conf.rseq_abi_pointer, conf.rseq_abi_size, conf.signature, conf.flags };
	return 0;
}
