/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks: the work of filling memory, cut so that it spreads.
 *
 * A chunk is one contiguous piece of a pages file, at most 2 MiB of it, and the
 * addresses its bytes go to. Large runs are cut at 2 MiB boundaries of the
 * *address*, so that a chunk never shares a huge page with another; small runs that
 * follow each other in the file share a chunk and become one read. Whole 2 MiB
 * ranges of mappings that may have huge pages become chunks of their own, of up
 * to PIE_STAGING bytes, for the worker to move into place. So do pages that a task
 * may have inherited already, for the worker to compare.
 */
#ifndef PAGE_CHUNK_H
#define PAGE_CHUNK_H

#include "prog/asm.h"
#include "snap/snap.h"

enum { CHUNK_LEN = 2 << 20, CHUNK_IOVS = 512 };

struct chunks {
	uint64_t va;     /* of the pie_chunk array in the space */
	uint32_t n;
	uint64_t bytes;
	uint64_t ranges_va; /* pie_iov array: where huge chunks go */
	uint32_t nranges;
	uint32_t ncompare;  /* chunks that are to be compared */
};

/* Ranges of addresses, each list sorted. */
struct chunk_rules {
	const struct pie_iov *huge;    /* mappings that may get huge pages */
	const struct pie_iov *skip;    /* pages that are left out: a vdso that is kept, what is there already */
	const struct pie_iov *compare; /* pages that may be there already */
	size_t nhuge, nskip, ncompare;
};

/*
 * Cuts the extents of p (snap_chain()) into chunks in the space; a chunk's file is the number of
 * its source in p. The bytes of each extent lie one after another.
 */
struct chunks chunks_cut(struct prog_space *s, const struct snap_pages *p, const struct chunk_rules *rules);

#endif
