/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several reads of pages files at once, by one thread of the engine through an io_uring of its own, so that a disk
 * always has work. Without liburing, or when a ring cannot be had or fails, each read is done at once instead.
 *
 * As in page workers, reads carry RWF_NOWAIT: the kernel makes no helper threads, whose IDs the tree may need.
 */
#ifndef PAGE_DEEP_READ_H
#define PAGE_DEEP_READ_H

#include "page/page_source.h"

struct deep_job {
	const struct page_source *from;
	bool direct;
	void *to;
	uint64_t len, off;
	/* Called by the same thread when all is read, or with the error (its trail is set). */
	void (*done)(const struct deep_job *j, int err);
	void *ctx, *what;
};

struct deep_read;

/* NULL: there is no ring. The functions below take that, too. */
struct deep_read *deep_read_new(void);
/* May call done() of this job and of earlier ones. */
void deep_read_start(struct deep_read *d, const struct deep_job *j);
/* Waits for all and frees d. */
void deep_read_end(struct deep_read *d);

#endif
