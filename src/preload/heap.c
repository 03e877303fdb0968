/* SPDX-License-Identifier: Apache-2.0 */
/* The books of large allocations (heap.h): pieces in an array by address, the pages of a shared one in a word. */
#include "preload/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int heap_add_range(struct heap *h, uint64_t va, uint64_t pages)
{
	struct heap_range *p = realloc(h->range, (h->n_ranges + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	h->range = p;
	p[h->n_ranges++] = (struct heap_range){ va, pages };
	return 0;
}

/* The number of pieces that begin at or below an address. */
static size_t pieces_upto(const struct heap *h, uint64_t at)
{
	size_t low = 0, high = h->n_pieces;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (h->piece[mid].va <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static uint64_t piece_end(const struct heap_piece *p)
{
	return p->va + ((uint64_t)p->pages << HEAP_PAGE_SHIFT);
}

static struct heap_piece *piece_at(const struct heap *h, uint64_t at)
{
	size_t i = pieces_upto(h, at);

	return i && at < piece_end(&h->piece[i - 1]) ? &h->piece[i - 1] : NULL;
}

/* The lowest gap: what is long-lived gathers at the bottom. */
uint64_t heap_place(const struct heap *h, uint64_t pages)
{
	uint64_t len = pages << HEAP_PAGE_SHIFT;

	for (size_t k = 0; k < h->n_ranges; k++) {
		uint64_t va = h->range[k].va, end = va + (h->range[k].pages << HEAP_PAGE_SHIFT);

		for (size_t i = va ? pieces_upto(h, va - 1) : 0; i < h->n_pieces && h->piece[i].va < end; i++) {
			if (h->piece[i].va - va >= len)
				break;
			va = piece_end(&h->piece[i]);
		}
		if (end - va >= len)
			return va;
	}
	return 0;
}

int heap_add_piece(struct heap *h, uint64_t va, uint32_t pages, uint64_t handle, bool shared)
{
	struct heap_piece new = { .va = va, .handle = handle, .pages = pages, .shared = shared };
	size_t i = pieces_upto(h, va);

	new.bytes = calloc(shared ? HEAP_SHARED : 1, sizeof(*new.bytes));
	if (new.bytes && h->n_pieces == h->room) {
		size_t room = h->room ? 2 * h->room : 64;
		struct heap_piece *p = realloc(h->piece, room * sizeof(*p));

		if (p) {
			h->piece = p;
			h->room = room;
		}
	}
	if (!new.bytes || h->n_pieces == h->room) {
		free(new.bytes);
		return -ENOMEM;
	}
	memmove(&h->piece[i + 1], &h->piece[i], (h->n_pieces - i) * sizeof(h->piece[0]));
	h->piece[i] = new;
	h->n_pieces++;
	return 0;
}

static uint32_t mask_of(unsigned at, unsigned pages)
{
	return (uint32_t)(((1ull << pages) - 1) << at);
}

/* The first run of free pages in a shared piece, or -1. */
static int run_find(uint32_t used, unsigned pages)
{
	uint32_t from = ~used; /* where a run of 1, then 2, ... can begin */

	for (unsigned n = 1; from && n < pages; n++)
		from &= from >> 1;
	return from ? __builtin_ctz(from) : -1;
}

uint64_t heap_take(struct heap *h, uint64_t bytes)
{
	uint64_t pages = heap_pages(bytes);

	for (size_t i = 0; bytes && i < h->n_pieces; i++) {
		struct heap_piece *p = &h->piece[i];
		int at;

		if (!p->shared && !p->bytes[0] && p->pages == pages) {
			p->bytes[0] = bytes;
			return p->va;
		}
		if (!p->shared || pages > HEAP_SHARED_MOST)
			continue;
		at = run_find(p->used, (unsigned)pages);
		if (at < 0)
			continue;
		p->used |= mask_of((unsigned)at, (unsigned)pages);
		p->bytes[at] = bytes;
		return p->va + ((uint64_t)at << HEAP_PAGE_SHIFT);
	}
	return 0;
}

int heap_give(struct heap *h, uint64_t va, const struct heap_piece **ret_empty)
{
	struct heap_piece *p = piece_at(h, va);
	uint64_t at = p ? (va - p->va) >> HEAP_PAGE_SHIFT : 0;

	*ret_empty = NULL;
	if (!p || va & (HEAP_PAGE - 1) || (at && !p->shared) || !p->bytes[at])
		return -ENOENT;
	if (p->shared)
		p->used &= ~mask_of((unsigned)at, (unsigned)heap_pages(p->bytes[at]));
	p->bytes[at] = 0;
	if (!p->used)
		*ret_empty = p;
	return 0;
}

void heap_drop_piece(struct heap *h, uint64_t va)
{
	struct heap_piece *p = piece_at(h, va);

	if (!p)
		return;
	free(p->bytes);
	memmove(p, p + 1, (size_t)(h->piece + --h->n_pieces - p) * sizeof(*p));
}

bool heap_find(const struct heap *h, uint64_t at, uint64_t *ret_va, uint64_t *ret_bytes)
{
	const struct heap_piece *p = piece_at(h, at);
	uint64_t i = p && p->shared ? (at - p->va) >> HEAP_PAGE_SHIFT : 0;

	if (!p)
		return false;
	while (i && !p->bytes[i])
		i--;
	*ret_va = p->va + (i << HEAP_PAGE_SHIFT);
	*ret_bytes = p->bytes[i];
	return at - *ret_va < *ret_bytes;
}

uint64_t heap_spare(const struct heap *h)
{
	uint64_t n = 0;

	for (size_t i = 0; i < h->n_pieces; i++)
		if (h->piece[i].shared)
			n += (uint64_t)__builtin_popcount(~h->piece[i].used);
	return n;
}

const struct heap_piece *heap_empty(const struct heap *h, uint64_t va)
{
	for (size_t i = 0; i < h->n_pieces; i++)
		if (h->piece[i].shared && !h->piece[i].used && h->piece[i].va != va)
			return &h->piece[i];
	return NULL;
}

void heap_free(struct heap *h)
{
	for (size_t i = 0; i < h->n_pieces; i++)
		free(h->piece[i].bytes);
	free(h->piece);
	free(h->range);
	*h = (struct heap){ 0 };
}
