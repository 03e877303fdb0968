/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory away and back (away.h). A piece that is away stands in the books with the handle 0: addresses stay taken, and
 * blocks stay where they are.
 */
#include "preload/away.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "preload/owner.h"

static size_t pieces_count(bool away)
{
	size_t n = 0;

	for (const struct owner *o = owner_first(); o; o = o->next)
		for (size_t i = 0; i < o->heap.n_pieces; i++)
			n += !away || !o->heap.piece[i].handle;
	return n;
}

bool away_is(void)
{
	return pieces_count(true) > 0;
}

/* The context stays current in this thread: mapping and exporting need one. */
int away_settle(void)
{
	int r = CU_SUCCESS;

	for (const struct owner *o = owner_first(); o && r == CU_SUCCESS; o = o->next) {
		r = driver.cuCtxSetCurrent(o->ctx);
		if (r == CU_SUCCESS)
			r = driver.cuCtxSynchronize();
	}
	return r;
}

struct ask_piece *away_list(size_t *ret_n)
{
	size_t n = pieces_count(false);
	struct ask_piece *v = calloc(n + 1, sizeof(*v));

	*ret_n = 0;
	for (const struct owner *o = owner_first(); v && o; o = o->next)
		for (size_t i = 0; i < o->heap.n_pieces; i++) {
			struct ask_piece *p = &v[(*ret_n)++];

			p->va = o->heap.piece[i].va;
			p->len = (uint64_t)o->heap.piece[i].pages << HEAP_PAGE_SHIFT;
			memcpy(p->gpu, o->uuid, sizeof(p->gpu));
		}
	return v;
}

static struct heap_piece *piece_find(const struct ask_piece *p, struct owner **ret)
{
	for (struct owner *o = owner_first(); o; o = o->next)
		for (size_t i = 0; i < o->heap.n_pieces; i++)
			if (o->heap.piece[i].va == p->va && o->heap.piece[i].pages == heap_pages(p->len)) {
				*ret = o;
				return &o->heap.piece[i];
			}
	return NULL;
}

int away_export(const struct ask_piece *p, int *ret_fd)
{
	struct owner *o;
	const struct heap_piece *h = piece_find(p, &o);

	return h ? driver.cuMemExportToShareableHandle(ret_fd, h->handle, CU_BY_FD, 0) : CU_INVALID_VALUE;
}

/* What is unmapped is away, even if its handle should not go: it comes back by the descriptor. */
int away_release(void)
{
	int r = CU_SUCCESS;

	for (struct owner *o = owner_first(); o; o = o->next)
		for (size_t i = 0; i < o->heap.n_pieces && r == CU_SUCCESS; i++) {
			struct heap_piece *p = &o->heap.piece[i];

			r = driver.cuMemUnmap(p->va, (size_t)p->pages << HEAP_PAGE_SHIFT);
			if (r == CU_SUCCESS) {
				r = driver.cuMemRelease(p->handle);
				p->handle = 0;
			}
		}
	return r;
}

int away_take_back(const struct ask_piece *p, int fd)
{
	struct owner *o;
	struct heap_piece *h = piece_find(p, &o);
	cu_memory handle;
	int r;

	if (!h)
		return CU_INVALID_VALUE;
	if (h->handle)
		return CU_SUCCESS;
	r = driver.cuCtxSetCurrent(o->ctx);
	if (r == CU_SUCCESS)
		r = driver.cuMemImportFromShareableHandle(&handle, (void *)(intptr_t)fd, CU_BY_FD);
	if (r != CU_SUCCESS)
		return r;
	r = owner_map(o, h->va, h->pages, handle);
	if (r == CU_SUCCESS) {
		h->handle = handle;
		h->foreign = true;
	} else {
		driver.cuMemRelease(handle);
	}
	return r;
}

/* Copies a piece into new memory, by way of addresses that are only there for that. */
static int piece_copy(const struct owner *o, const struct heap_piece *p, cu_memory to)
{
	size_t len = (size_t)p->pages << HEAP_PAGE_SHIFT;
	cu_address at;
	int r = driver.cuMemAddressReserve(&at, len, HEAP_PAGE, 0, 0);

	if (r != CU_SUCCESS)
		return r;
	r = owner_map(o, at, p->pages, to);
	if (r == CU_SUCCESS) {
		r = driver.cuMemcpyDtoD_v2(at, p->va, len);
		if (r == CU_SUCCESS)
			r = driver.cuCtxSynchronize();
		driver.cuMemUnmap(at, len);
	}
	driver.cuMemAddressFree(at, len);
	return r;
}

static int piece_own(const struct owner *o, struct heap_piece *p)
{
	cu_memory own, theirs = p->handle;
	int r = driver.cuCtxSetCurrent(o->ctx);

	if (r == CU_SUCCESS)
		r = owner_create(o, p->pages, &own);
	if (r != CU_SUCCESS)
		return r;
	r = piece_copy(o, p, own);
	if (r == CU_SUCCESS)
		r = driver.cuMemUnmap(p->va, (size_t)p->pages << HEAP_PAGE_SHIFT);
	if (r == CU_SUCCESS) {
		r = owner_map(o, p->va, p->pages, own);
		if (r != CU_SUCCESS) /* as it was, then */
			(void)owner_map(o, p->va, p->pages, theirs);
	}
	if (r == CU_SUCCESS) {
		p->handle = own;
		p->foreign = false;
	}
	driver.cuMemRelease(r == CU_SUCCESS ? theirs : own);
	return r;
}

int away_own(void)
{
	int r = CU_SUCCESS;

	for (const struct owner *o = owner_first(); o && r == CU_SUCCESS; o = o->next)
		for (size_t i = 0; i < o->heap.n_pieces && r == CU_SUCCESS; i++)
			if (o->heap.piece[i].foreign)
				r = piece_own(o, &o->heap.piece[i]);
	return r;
}

int away_end(void)
{
	return away_is() ? -ENODATA : 0;
}
