/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledge to stand on: some bytes of code in a task, from which one of its threads
 * can make a system call for the engine, and find its way back if the engine is killed.
 *
 * A tracer that dies lets its tracees run. A thread whose registers are set for a
 * call of ours would go on with them, behind some system call instruction that is
 * not its own. On the ledge it comes to instructions that put its own mask and
 * registers back. As long as the engine lives it stops the thread right behind the call
 * (ptrace_call()), and puts all back itself.
 *
 * The ledge lies in the unused end of the vdso: the one place that is executable,
 * never used and there in every process. Writing to it gives the process a private
 * copy of that page; the bytes are zero again when the engine leaves.
 */
#ifndef ARCH_LEDGE_H
#define ARCH_LEDGE_H

#include <stdint.h>
#include <sys/user.h>

#include "base/err.h"

enum { LEDGE_LEN = 160 };

struct ledge {
	uint64_t call_va; /* where a call begins: its system call instruction */
	int mem_fd;       /* /proc/PID/mem; -1: there is no ledge, call_va is an instruction of the vdso's own */
};

/*
 * Puts a ledge into a stopped task with its vdso at vdso_va, for a thread that is to go home to these registers and
 * this mask. Where there is no room only the way back is missing; -ENOTSUP: not even a system call instruction.
 */
int ledge_put(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct user_regs_struct *home, uint64_t mask,
	      struct ledge *ret) must_check;
/*
 * The same for one call that opens a descriptor: should the engine be killed before it has said what becomes of the
 * thread, the thread closes what the call has given it.
 */
int ledge_put_opening(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct user_regs_struct *home,
		      uint64_t mask, struct ledge *ret) must_check;
/* Takes it away: when the thread has its own registers again. Repeatedly is fine, after a first put. */
void ledge_take(struct ledge *l);

#endif
