/* SPDX-License-Identifier: Apache-2.0 */
/*
 * General registers: what ptrace sees of a stopped thread <-> what an image says of it.
 *
 * The engine reads the registers of a thread once, when it stops, and calls
 * regs_leave_rseq() on them; these are what the live thread gets back. The image
 * gets a copy on which regs_restart() has been called.
 */
#ifndef ARCH_REGS_H
#define ARCH_REGS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

#include "base/arena.h"
#include "img/messages.h"
#include "kern/ptrace.h"

/* core->thread_info, made (with its required blocks empty) when there is none. */
ThreadInfoX86 *regs_info(struct arena *a, CoreEntry *core);

/* Refuses a live thread whose state cannot be saved: a 32-bit program. */
int regs_check_live(const struct user_regs_struct *regs) must_check;

/*
 * A thread that stopped inside a restartable sequence goes on at its abort
 * handler. Returns 1 when regs were changed, 0 when not, -errno with a trail.
 */
int regs_leave_rseq(pid_t tid, const struct ptrace_rseq *rseq, struct user_regs_struct *regs) must_check;

/* Undoes what an interrupted system call has left in the registers, so that it starts again. */
void regs_restart(struct user_regs_struct *regs);
/*
 * A call that ended with EINTR only because its thread was stopped is to start again: true when it is one. For
 * threads without a signal to be delivered.
 */
bool regs_begin_again(struct user_regs_struct *regs);

/*
 * Fills core's general registers, regs_restart() included. regs itself stays as it
 * is. tid: the thread, to look at its code; 0 if that is not worth it.
 */
void regs_dump(struct arena *a, pid_t tid, const struct user_regs_struct *regs, CoreEntry *core);

/* Refuses by name what a restore cannot set: 32-bit code, selectors other than the usual ones. */
int regs_check(const CoreEntry *core) must_check;

#endif
