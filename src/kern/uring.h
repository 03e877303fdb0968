/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this process, and so the tasks that it makes, may use io_uring. */
#ifndef KERN_URING_H
#define KERN_URING_H

#include "base/err.h"

enum { URING_REASON_LEN = 96 };

/*
 * Makes a ring of so many entries, enters it, registers a table of files, maps it, and lets go of it again: a sysctl, a
 * seccomp filter or an old kernel may refuse any of these. 0, or -errno and the reason in a few words.
 */
int uring_try(unsigned entries, char reason[URING_REASON_LEN]) must_check;

#endif
