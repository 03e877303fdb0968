/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal frames: how a thread gets all its registers at once.
 *
 * rt_sigreturn is the one system call that sets every general and extended
 * register, the signal mask and the alternate stack, and then is no longer in the
 * way. A frame is built in the program's space, as the kernel itself would have
 * built it on the stack of a handler; nothing of it stays with the thread.
 *
 * Not set by it: fs and gs bases (kind/task_cpu.c).
 */
#ifndef ARCH_SIGFRAME_H
#define ARCH_SIGFRAME_H

#include <stdint.h>
#include <sys/user.h>

#include "arch/x86_64/xsave.h"
#include "prog/asm.h"

/*
 * The frame of a restored thread: registers, signal mask and alternate stack as
 * core says (regs_check() and xsave_check() have been passed). Returns its
 * address, for OP_SIGRETURN.
 */
uint64_t sigframe_build(struct prog_space *s, const struct xsave_layout *l, const CoreEntry *core);

/*
 * The frame by which a thread of a dump's target goes back to its work on its
 * own (OP_PARK): its live registers, an interrupted call started again. raw: its
 * extended registers as ptrace gave them. The alternate stack stays what it is.
 */
uint64_t sigframe_from_ptrace(struct prog_space *s, const struct xsave_layout *l, const struct user_regs_struct *regs,
			      const void *raw, size_t raw_len, uint64_t sigmask);

#endif
