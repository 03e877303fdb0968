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
 * copy of that page; the bytes are zero again when the engine leaves. A killed one leaves them behind, with a mark
 * by which the next one knows them.
 */
#ifndef ARCH_LEDGE_H
#define ARCH_LEDGE_H

#include <stdint.h>
#include <sys/user.h>

#include "base/err.h"

enum { LEDGE_LEN = 176 };

struct ledge {
	uint64_t call_va; /* where a call begins: its system call instruction */
	int mem_fd;       /* /proc/PID/mem; -1: there is no ledge, call_va is an instruction of the vdso's own */
};

/* What becomes of that which the call has given, should the engine be killed before it has said so. */
enum ledge_undo {
	LEDGE_KEEP,
	LEDGE_CLOSE, /* it is a descriptor */
	LEDGE_UNMAP, /* it is a mapping, len bytes long */
};

/* Home, for one thread: its registers and its mask. */
struct ledge_way {
	const struct user_regs_struct *home;
	uint64_t mask, len;
	enum ledge_undo undo;
};

/*
 * Puts a ledge into a stopped task with its vdso at vdso_va. Where there is no room only the way back is missing;
 * -ENOTSUP: not even a system call instruction.
 */
int ledge_put(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct ledge_way *way,
	      struct ledge *ret) must_check;
/* Takes it away: when the thread has its own registers again. Repeatedly is fine, after a first put. */
void ledge_take(struct ledge *l);

/*
 * Whether a stopped thread with these registers is on a ledge that was left behind. 2: it has done its last call, and
 * *regs are those of home; 1: it is still to make calls.
 */
int ledge_left(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, struct user_regs_struct *regs) must_check;

/* The thread that ledges were made for, as it stands now: its mask, its stack from the pointer to the mapping's end. */
struct ledge_owner {
	uint64_t mask, stack_va, stack_end_va;
};

/*
 * Takes all that were left away: no thread is on them, and none of ours is there. Returns how many. *ret_stay: as many
 * may be where a signal handler that the owner is in returns to.
 */
int ledge_sweep(int proc_fd, uint64_t vdso_va, uint64_t vdso_len, const struct ledge_owner *o,
		int *ret_stay) must_check;

#endif
