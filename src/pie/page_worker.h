/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a page worker share. Life: page_worker.c; reading: page_read.c; placing: page_place.c. */
#ifndef PIE_PAGE_WORKER_H
#define PIE_PAGE_WORKER_H

#include "pie/blob.h"

struct page_worker {
	uint32_t number;
	struct pie_ctx *c;
	const struct prog_rec *rec;
	struct pie_fill *f;
	int32_t fd[PIE_MAX_FILES]; /* 0: not open yet */
};

/* page_read.c: a chunk from its file to its place; what can go wrong ends the worker with a word on the board */
void page_read_chunk(struct page_worker *w, const struct pie_chunk *k);
void page_read_end(struct page_worker *w);

/* page_place.c */
/* A userfaultfd that watches all huge ranges, or -1: nothing is lost but speed. staging: the record of its mapping. */
int page_place_watch(const struct pie_fill *f, const struct prog_rec *staging);
/* From the staging area to where it belongs. */
void page_place_move(struct page_worker *w, uint64_t to_va, uint64_t from_va, uint64_t len);

#endif
