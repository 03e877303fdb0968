/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the large allocations of one CUDA context lie. Books only: no call of the driver is made here, so that a test
 * can compare millions of steps with a model.
 *
 * Addresses come in ranges (reserved once, never given back while the context lives), physical memory in pieces of
 * whole pages of 2 MiB. A block of more than HEAP_SHARED_MOST pages is a piece of its own; smaller ones share pieces of
 * HEAP_SHARED pages. That is what caching allocators ask for: PyTorch takes 2 and 20 MiB at a time, and hundreds
 * of pieces would cost a dump hundreds of descriptors, and the GPU's address translation more than it should.
 */
#ifndef PRELOAD_HEAP_H
#define PRELOAD_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAP_PAGE_SHIFT = 21, HEAP_SHARED = 32, HEAP_SHARED_MOST = 10 };
#define HEAP_PAGE (1ull << HEAP_PAGE_SHIFT)

struct heap_piece {
	uint64_t va, handle;
	uint32_t pages;
	uint32_t used;   /* shared: a bit for each page that a block covers */
	bool shared;
	bool foreign;    /* the memory is another process's, and cannot be exported */
	uint64_t *bytes; /* shared: of the block that begins at each page, 0 where none does; else of the one block */
};

struct heap {
	struct heap_range {
		uint64_t va, pages;
	} *range;
	struct heap_piece *piece; /* by address */
	size_t n_ranges, n_pieces, room;
};

/* Adds reserved addresses. 0 or -ENOMEM. */
int heap_add_range(struct heap *h, uint64_t va, uint64_t pages);
/* Addresses that no piece uses; 0 when no range has that many in a row. */
uint64_t heap_place(const struct heap *h, uint64_t pages);
/* Adds physical memory at such a place. 0 or -ENOMEM. */
int heap_add_piece(struct heap *h, uint64_t va, uint32_t pages, uint64_t handle, bool shared);

/* A block of some bytes out of the pieces there are; 0 when there is no room. */
uint64_t heap_take(struct heap *h, uint64_t bytes);
/* The block at exactly va is free again; -ENOENT: there is none. *ret_empty: its piece, if that is empty now. */
int heap_give(struct heap *h, uint64_t va, const struct heap_piece **ret_empty);
/* Takes a piece out of the books (what is in it as well). */
void heap_drop_piece(struct heap *h, uint64_t va);

/* The block that covers an address. */
bool heap_find(const struct heap *h, uint64_t at, uint64_t *ret_va, uint64_t *ret_bytes);
/* Pages of shared pieces that no block covers. */
uint64_t heap_spare(const struct heap *h);
/* Another piece than va that is shared and empty, or NULL. */
const struct heap_piece *heap_empty(const struct heap *h, uint64_t va);
void heap_free(struct heap *h);

static inline uint64_t heap_pages(uint64_t bytes)
{
	return (bytes >> HEAP_PAGE_SHIFT) + !!(bytes & (HEAP_PAGE - 1));
}

#endif
