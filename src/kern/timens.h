/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time namespaces (since 5.6): a process in one sees CLOCK_MONOTONIC and
 * CLOCK_BOOTTIME moved by an offset each. Times here are nanoseconds.
 */
#ifndef KERN_TIMENS_H
#define KERN_TIMENS_H

#include <stdint.h>

#include "base/err.h"

struct timens {
	int64_t monotonic_ns, boottime_ns;
};

/* What a process's clocks are ahead of the machine's. Zeros where the kernel has no time namespaces. */
int timens_offsets(int proc_fd, struct timens *ret_ahead) must_check;
/* The two clocks as the caller sees them. */
struct timens timens_now(void);

/*
 * The caller's next children live in a new time namespace, so far ahead of the machine. Returns a descriptor for
 * timens_leave(), which takes the caller back (-1: nowhere to go back to) and closes it. Needs a
 * single-threaded caller.
 */
int timens_enter(const struct timens *ahead) must_check;
void timens_leave(int fd);

#endif
