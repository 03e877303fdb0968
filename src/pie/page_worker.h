/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a page worker share. Life: page_worker.c; reading: page_read.c; placing: page_place.c. */
#ifndef PIE_PAGE_WORKER_H
#define PIE_PAGE_WORKER_H

#include <stdbool.h>

#include "pie/blob.h"

enum { PAGE_REQUEST = 1 << 20, PAGE_JOBS = 8 }; /* jobs: the first PIE_SLOTS of them have a staging area each */
enum { PAGE_UNTRIED = -2, PAGE_NONE = -1 };    /* descriptors that are not there */

/* One read through the ring. niovs 0: len bytes to va; else va is an array of so many pie_iov. */
struct page_request {
	uint64_t off, va, data;
	uint32_t len, niovs, file;
};

struct page_ring {
	int32_t fd;
	uint32_t tail, entries, unsent, in_flight;
	uint64_t queues_va, queues_len;
	uint32_t *sq_tail, *cq_head, *cq_tail;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

/* A chunk that is being read through the ring. */
struct page_job {
	const struct pie_chunk *k; /* NULL: this job is free */
	uint32_t waits;            /* bit i: request i is not complete yet */
	bool direct;
};

struct page_worker {
	uint32_t number;
	bool alone; /* this is the leader itself, the serial path: it never has a ring */
	struct pie_ctx *c;
	const struct prog_rec *rec;
	struct pie_fill *f;
	struct page_file {
		int32_t fd, direct_fd; /* direct_fd PAGE_NONE: it cannot be read directly */
		uint32_t align;        /* of direct reads, in the file */
		bool ringed;           /* the ring knows its descriptor */
	} file[PIE_MAX_FILES];
	struct page_ring ring;
	struct page_job job[PAGE_JOBS];
};

/* Read elsewhere first? */
static inline bool page_staged(const struct page_worker *w, const struct pie_chunk *k)
{
	return k->how == PIE_COMPARE ? w->f->staged : k->how != PIE_IN_PLACE && w->f->uffd >= 0;
}

/* What is read first of it: itself, if it has no parts. */
static inline const struct pie_chunk *page_first_read(const struct pie_chunk *k)
{
	return k->nparts ? (const struct pie_chunk *)k->parts_va : k;
}

/* A worker's staging areas: 0 for reading at once, 1 + job for reading ahead. */
static inline uint64_t page_staging(const struct page_worker *w, uint32_t slot)
{
	return w->f->staging_va + (uint64_t)(w->number * w->f->slots + slot) * PIE_STAGING;
}

/* page_read.c: a chunk from its file to its place; what goes wrong ends the worker with a word on the board */
void page_read_begin(struct page_worker *w);
/* May return before the chunk is complete; page_read_end() waits for all. */
void page_read_chunk(struct page_worker *w, const struct pie_chunk *k);
void page_read_end(struct page_worker *w);
/* For page_ahead.c: a descriptor of a file; the rest of a chunk from byte `done` on; what follows the first read. */
int page_read_file(struct page_worker *w, uint32_t file, bool direct);
void page_read_rest(struct page_worker *w, const struct pie_chunk *k, bool direct, uint64_t done);
void page_read_done(struct page_worker *w, const struct pie_chunk *k, uint32_t slot);

/* page_ahead.c: several chunks at once, through a ring. false: there is none, read it yourself. */
bool page_ahead_chunk(struct page_worker *w, const struct pie_chunk *k, bool direct);
void page_ahead_end(struct page_worker *w);

/* page_ring.c: one io_uring. These return 0 or -errno. */
int page_ring_open(struct page_ring *r, uint32_t entries, uint32_t nfiles);
int page_ring_file(const struct page_ring *r, uint32_t number, int fd);
int page_ring_send(struct page_ring *r);
int page_ring_wait(const struct page_ring *r);
/* The caller sees to it that unsent and in_flight together are never more than entries. */
void page_ring_read(struct page_ring *r, const struct page_request *q);
/* One completion, if there is one. */
bool page_ring_take(struct page_ring *r, uint64_t *ret_data, int32_t *ret_res);
void page_ring_close(struct page_ring *r);

/* page_compare.c: writes what differs of a chunk whose bytes lie at from_va */
void page_compare(const struct pie_chunk *k, uint64_t from_va);

/* page_place.c */
/* A userfaultfd that watches all ranges, or -1: nothing is lost but speed. */
int page_place_watch(const struct pie_fill *f);
/* From the staging area to where it belongs: whole ranges of 2 MiB, or whatever pages. */
void page_place_move(struct page_worker *w, const struct pie_chunk *k, uint64_t from_va);
void page_place_copy(struct page_worker *w, const struct pie_chunk *k, uint64_t from_va);

#endif
