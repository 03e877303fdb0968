/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File locks, out of the "lock:" lines of fdinfo.
 *
 * The kernel prints there the locks of the file's inode that belong to this
 * description (FLOCK, OFD, LEASE) or to this task's descriptor table (POSIX); so a
 * flock shows up under each descriptor that shares the description.
 */
#ifndef KERN_LOCKS_H
#define KERN_LOCKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "kern/fdinfo.h"

enum lock_kind { LOCK_KIND_POSIX, LOCK_KIND_FLOCK, LOCK_KIND_OFD, LOCK_KIND_LEASE, LOCK_KIND_DELEG };
enum lock_access { LOCK_ACCESS_READ, LOCK_ACCESS_WRITE, LOCK_ACCESS_UNLOCK };

struct file_lock {
	enum lock_kind kind;
	enum lock_access access; /* of a lease that is being broken: the type it is broken to */
	bool breaking;           /* LEASE BREAKING */
	pid_t pid;               /* who took it; -1 for OFD */
	uint32_t dev_major, dev_minor;
	uint64_t ino;
	uint64_t start, end; /* bytes, end inclusive; end INT64_MAX: to the end of the file */
};

/* The next lock line; *cursor starts as info->rest. Returns 1 for a line, 0 at the end, or -EINVAL with a trail. */
int locks_next(const char **cursor, struct file_lock *ret_lock) must_check;

#endif
