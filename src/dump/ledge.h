/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledge to stand on: some bytes of code in a target, from which its leader can
 * make system calls for the engine, and find its way back if the engine is killed.
 *
 * A thread whose registers are set for a call of ours and that is then left alone
 * (a tracer that dies lets its tracees run) would go on with those registers, behind some
 * system call instruction that is not its own. On the ledge it sees that the engine is
 * gone, and goes back to its own registers and signal mask.
 *
 * The ledge lies in the unused end of the vdso's last page: the one place that is
 * executable, never used and there in every process. Writing to it gives the process a
 * private copy of that page; the bytes are zero again when the engine leaves.
 */
#ifndef DUMP_LEDGE_H
#define DUMP_LEDGE_H

#include <stdint.h>
#include <sys/user.h>

#include "kern/maps.h"

struct ledge {
	uint64_t call_va; /* where a call begins: its system call instruction */
	uint64_t len;     /* bytes written at call_va, 0: none, call_va is one of the vdso's own instructions */
	int mem_fd;       /* /proc/PID/mem */
};

/*
 * Puts a ledge into the stopped task, for a leader with these registers and this mask. Where there is no
 * room for one, call_va is the vdso's own system call instruction: then nothing but the way back is missing.
 */
int ledge_put(int proc_fd, const struct map *maps, size_t nmaps, const struct user_regs_struct *regs, uint64_t mask,
	      struct ledge *ret) must_check;
/* Takes it away; nobody may stand on it. Repeatedly is fine. */
void ledge_take(struct ledge *l);

#endif
