/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks: the work of filling memory, cut so that it spreads.
 *
 * A chunk is one contiguous piece of a pages file, at most 2 MiB of it, and the
 * addresses its bytes go to. Large runs are cut at 2 MiB boundaries of the
 * *address*, so that a chunk never shares a huge page with another; small runs that
 * follow each other in the file share a chunk and become one read.
 *
 * Areas (area.h) become chunks of their own, for the worker to move into place. If the pages of one
 * come from several files, the chunk has parts: a read each, those of the oldest images first. So a
 * read may go over pages that a newer image holds as well, rather than stop before each:
 * the newer ones are put on top of them.
 */
#ifndef PAGE_CHUNK_H
#define PAGE_CHUNK_H

#include "prog/asm.h"
#include "snap/snap.h"

enum { CHUNK_LEN = 2 << 20, CHUNK_IOVS = 512 };
enum { CHUNK_GAP = 64 << 10 };        /* so much that is not needed is read rather than left out */
enum { CHUNK_COPY_LEAST = 4 << 20 };  /* below, watching mappings costs more than copying gains */

struct chunks {
	uint64_t va;     /* of the pie_chunk array in the space */
	uint32_t n;
	uint64_t bytes;
	uint64_t ranges_va; /* pie_iov array: where chunks are moved or copied to */
	uint32_t nranges, ncut; /* the first ncut of them are only parts of mappings; others may hold several */
	uint32_t ncompare;  /* chunks that are to be compared */
};

/* Ranges of addresses, each list sorted. */
struct chunk_rules {
	const struct pie_iov *huge;    /* mappings that may get huge pages */
	const struct pie_iov *watch;   /* mappings whose other pages may be copied: nothing in them is there already */
	const uint32_t *band;          /* by mapping of watch: those of one number have no other between them */
	const struct pie_iov *skip;    /* pages that are left out: a vdso that is kept, what is there already */
	const struct pie_iov *compare; /* pages that may be there already */
	size_t nhuge, nwatch, nskip, ncompare;
	bool exact; /* nothing else is read than what is needed: its place in the file will be freed */
};

/*
 * Cuts the extents of p (snap_chain()) into chunks in the space; a chunk's file is the number of
 * its source in p. The bytes of each extent lie one after another.
 */
struct chunks chunks_cut(struct prog_space *s, const struct snap_pages *p, const struct chunk_rules *rules);

#endif
