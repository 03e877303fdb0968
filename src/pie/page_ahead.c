/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead: a page worker's chunks on their way through its ring.
 *
 * A disk wants many reads at once. So a chunk is cut into requests of 1 MiB (one that
 * goes to many small pieces of memory stays one request), and the worker takes the next
 * chunk without waiting for this one. There are two staging areas: while one is moved
 * into place, the reads into the other go on.
 *
 * Whatever a ring does not do is done by pread: a request that comes back short or
 * failed is repeated that way, which also says what is wrong with it. If the ring itself
 * fails, half-way too (a seccomp filter, no memory), what is in flight is waited for, for
 * the disk may still write to it, the rest is read by pread, and the worker goes on without a ring.
 *
 * The leader of a task never has a ring: nothing of it could be seen afterwards, but the
 * restored thread group is to have had no part in it at all.
 */
#include <linux/errno.h>

#include "pie/page_worker.h"

/* Of its first read. The other parts of a chunk that has some are put on top of that, when it is complete. */
static uint32_t requests(const struct page_worker *w, const struct pie_chunk *k)
{
	return page_staged(w, k) ? (page_first_read(k)->len + PAGE_REQUEST - 1) / PAGE_REQUEST : 1;
}

/* A part that belongs here and there of a staging area cannot be cut at will. */
static bool suits(const struct page_worker *w, const struct pie_chunk *k)
{
	return requests(w, k) <= w->f->ring_entries && !(k->nparts && page_first_read(k)->niovs > 1);
}

static struct page_request request_of(const struct page_worker *w, uint32_t job, uint32_t i)
{
	const struct pie_chunk *k = w->job[job].k, *r = page_first_read(k);
	struct page_request q = { r->off, r->iovs_va, (uint64_t)job << 32 | i, r->len, r->niovs, r->file };
	uint64_t at = i * PAGE_REQUEST;

	if (page_staged(w, k)) {
		q.off += at;
		q.va = page_staging(w, 1 + job) + at;
		if (k->nparts)
			q.va += ((const struct pie_iov *)r->iovs_va)->va - ((const struct pie_iov *)k->iovs_va)->va;
		q.len = r->len - at < PAGE_REQUEST ? (uint32_t)(r->len - at) : PAGE_REQUEST;
		q.niovs = 0;
	}
	return q;
}

static void complete(struct page_worker *w, uint32_t job, uint32_t i, int32_t res)
{
	struct page_job *j = &w->job[job];
	struct page_request q = request_of(w, job, i);
	struct pie_iov v = { q.va, q.len };
	struct pie_chunk part = { .off = q.off, .iovs_va = q.niovs ? q.va : (uint64_t)&v, .len = q.len,
				  .niovs = q.niovs ? q.niovs : 1, .file = q.file };

	if (res < 0 || (uint32_t)res < q.len)
		page_read_rest(w, &part, j->direct, res < 0 ? 0 : (uint32_t)res);
	else
		__atomic_add_fetch(&w->c->board->ringed, q.len, __ATOMIC_RELAXED);
	j->waits &= ~(1u << i);
	if (!j->waits) {
		page_read_done(w, j->k, 1 + job);
		j->k = NULL;
	}
}

static bool complete_next(struct page_worker *w)
{
	uint64_t data;
	int32_t res;

	if (!page_ring_take(&w->ring, &data, &res))
		return false;
	complete(w, (uint32_t)(data >> 32), (uint32_t)data, res);
	return true;
}

/* The ring is of no use any more. Completions still arrive in memory, whenever this thread is in the kernel. */
static void give_up(struct page_worker *w, int err)
{
	__atomic_store_n(&w->c->board->ring_err, err, __ATOMIC_RELAXED);
	while (w->ring.in_flight)
		if (!complete_next(w))
			sys0(__NR_sched_yield);
	for (uint32_t job = 0; job < PAGE_JOBS; job++)
		for (uint32_t i = 0; w->job[job].k; i++)
			if (w->job[job].waits >> i & 1)
				complete(w, job, i, -EIO);
	page_ring_close(&w->ring);
}

/* Until one request is complete, or the ring is gone and with it all that was under way. */
static void wait_for_one(struct page_worker *w)
{
	int err = 0;

	while (!complete_next(w) && !err)
		err = page_ring_wait(&w->ring);
	if (err)
		give_up(w, err);
}

static bool ring_ready(struct page_worker *w, uint32_t file, bool direct)
{
	struct page_file *p = &w->file[file];
	int err = 0;

	if (w->alone || !w->f->ring_entries || w->ring.fd == PAGE_NONE)
		return false;
	if (w->ring.fd == PAGE_UNTRIED)
		err = page_ring_open(&w->ring, w->f->ring_entries, w->f->nfiles);
	if (err < 0) {
		w->ring.fd = PAGE_NONE;
		__atomic_store_n(&w->c->board->ring_err, err, __ATOMIC_RELAXED);
		return false;
	}
	if (!p->ringed) {
		err = page_ring_file(&w->ring, file, page_read_file(w, file, direct));
		p->ringed = !err;
		if (err < 0)
			give_up(w, err);
	}
	return w->ring.fd >= 0;
}

/* A job for a chunk: only those that have a staging area serve one that needs it. PAGE_JOBS: all have work. */
static uint32_t free_job(const struct page_worker *w, const struct pie_chunk *k)
{
	uint32_t i = page_staged(w, k) ? 0 : PIE_SLOTS, end = page_staged(w, k) ? PIE_SLOTS : PAGE_JOBS;

	while (i < end && w->job[i].k)
		i++;
	return i < end && w->ring.in_flight + requests(w, k) <= w->ring.entries ? i : PAGE_JOBS;
}

bool page_ahead_chunk(struct page_worker *w, const struct pie_chunk *k, bool direct)
{
	uint32_t n = requests(w, k), job;
	int err;

	if (!suits(w, k) || !ring_ready(w, page_first_read(k)->file, direct))
		return false;
	while ((job = free_job(w, k)) == PAGE_JOBS) {
		wait_for_one(w);
		if (w->ring.fd < 0)
			return false;
	}
	w->job[job] = (struct page_job){ .k = k, .waits = (1u << n) - 1, .direct = direct };
	for (uint32_t i = 0; i < n; i++) {
		struct page_request q = request_of(w, job, i);

		page_ring_read(&w->ring, &q);
	}
	err = page_ring_send(&w->ring);
	if (err < 0)
		give_up(w, err);
	return true;
}

void page_ahead_end(struct page_worker *w)
{
	while (w->ring.fd >= 0 && w->ring.in_flight)
		wait_for_one(w);
	if (w->ring.fd >= 0)
		page_ring_close(&w->ring);
}
