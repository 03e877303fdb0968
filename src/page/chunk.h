/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks: the work of filling memory, cut so that it spreads.
 *
 * A chunk is one contiguous piece of a pages file, at most 2 MiB of it, and the
 * addresses its bytes go to. Large runs are cut at 2 MiB boundaries of the
 * *address*, so that a chunk never shares a huge page with another; small runs
 * that follow each other in the file share a chunk and become one read.
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
};

/*
 * Cuts the present pages of p, whose bytes lie in file number `file` one after
 * another, into chunks in the space. Pages in [skip_start, skip_end) are left
 * out (a vdso that is kept).
 */
struct chunks chunks_cut(struct prog_space *s, const struct snap_pages *p, uint32_t file, uint64_t skip_start,
			 uint64_t skip_end);

#endif
