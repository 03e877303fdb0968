/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Want of memory, which the kernel ends by killing.
 *
 * Who is killed says nothing, so the kernel's count is asked; and of all that a restore
 * makes, what it fills should go first, and thaw, which tells of it, last.
 */
#ifndef BASE_OOM_H
#define BASE_OOM_H

#include <stdint.h>

/* How many processes the kernel has killed for want of memory since it was started; 0 also where it does not tell. */
uint64_t oom_kills(void);
/* Lets the kernel kill this process and its children before all others. Only system calls: also right after a fork. */
void oom_volunteer(void);

#endif
