/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages for the memory into which the driver copies what was on the GPU, without a system-wide setting.
 *
 * The driver makes one large private mapping with MAP_POPULATE: the kernel fills it with 4 KiB pages, in one thread,
 * and holds the lock that an madvise() from elsewhere would need. That is half of the time of a checkpoint. So its
 * thread, our tracee, is watched up to that mmap(), which loses its MAP_POPULATE; behind it the process's leader is
 * made to advise huge pages, and the engine's own threads touch each of them once. Only then the driver goes on.
 */
#ifndef DUMP_PREFAULT_H
#define DUMP_PREFAULT_H

#include <stdbool.h>

#include "kern/seize.h"

struct prefault {
	const struct seize_task *task;
	pid_t tid;              /* the driver's thread */
	bool watching;          /* it stops at system calls: prefault_look() has to be called then */
	bool in_mmap;           /* in the one that makes the buffer, changed by us */
	uint64_t flags;         /* what it had asked for */
	uint64_t until_ns;      /* so long it is watched */
	uint64_t start_va, len; /* the buffer, once it is there */
};

/* Whether the thread is to be watched: it has to be let run up to its system calls then. */
bool prefault_begin(struct prefault *p, const struct seize_task *t, pid_t tid);
/* It stands at a system call: looks at it and sends it on. */
int prefault_look(struct prefault *p) must_check;

#endif
