/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One io_uring, by bare system calls: a page worker has no libc to bring a library along.
 *
 * The kernel alone chooses where its rings are mapped (it takes no address for them). That is safe: all of
 * the task's mappings stand already, and the rings go before the leader does anything else. If a worker dies
 * and cannot unmap them, the restore has failed.
 *
 * All reads carry RWF_NOWAIT. Without it the kernel would hand what it cannot do at once to
 * helper threads of its own, with thread IDs that the tree may need. What it refuses for
 * that (EAGAIN) the worker reads itself. Reads of a disk past the page cache are not refused.
 *
 * No flags at setup: with requests of 1 MiB, IORING_SETUP_SINGLE_ISSUER with COOP_TASKRUN or
 * DEFER_TASKRUN gained nothing that could be told from noise, and DEFER_TASKRUN would keep completions from
 * who can no longer enter the ring (page_ahead.c).
 */
#include <linux/errno.h>
#include <linux/io_uring.h>
#include <linux/mman.h>

#include "pie/page_worker.h"

static long map(const struct page_ring *r, uint64_t len, uint64_t what)
{
	return sys6(__NR_mmap, 0, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, (uint64_t)r->fd, what);
}

static int map_queues(struct page_ring *r, const struct io_uring_params *p)
{
	uint64_t cq_len = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	uint64_t sq_len = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	uint32_t *array;
	long at;

	if (!(p->features & IORING_FEAT_SINGLE_MMAP))
		return -ENOSYS;
	r->queues_len = cq_len > sq_len ? cq_len : sq_len;
	at = map(r, r->queues_len, IORING_OFF_SQ_RING);
	if (at < 0)
		return (int)at;
	r->queues_va = (uint64_t)at;
	r->entries = p->sq_entries;
	at = map(r, r->entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	if (at < 0)
		return (int)at;
	r->sqes = (struct io_uring_sqe *)at;
	array = (uint32_t *)(r->queues_va + p->sq_off.array);
	for (uint32_t i = 0; i < p->sq_entries; i++)
		array[i] = i;
	r->sq_tail = (uint32_t *)(r->queues_va + p->sq_off.tail);
	r->cq_head = (uint32_t *)(r->queues_va + p->cq_off.head);
	r->cq_tail = (uint32_t *)(r->queues_va + p->cq_off.tail);
	r->cqes = (struct io_uring_cqe *)(r->queues_va + p->cq_off.cqes);
	return 0;
}

int page_ring_open(struct page_ring *r, uint32_t entries, uint32_t nfiles)
{
	struct io_uring_params p = { 0 };
	int32_t none[PIE_MAX_FILES];
	int err;

	r->tail = r->unsent = r->in_flight = 0;
	r->queues_va = 0;
	r->sqes = NULL;
	r->fd = (int32_t)sys2(__NR_io_uring_setup, entries, &p);
	if (r->fd < 0)
		return r->fd;
	err = map_queues(r, &p);
	for (uint32_t i = 0; i < nfiles; i++)
		none[i] = -1;
	if (!err)
		err = (int)sys4(__NR_io_uring_register, r->fd, IORING_REGISTER_FILES, none, nfiles);
	if (err < 0)
		page_ring_close(r);
	return err;
}

int page_ring_file(const struct page_ring *r, uint32_t number, int fd)
{
	struct io_uring_files_update u = { .offset = number, .fds = (uint64_t)&fd };
	long n = sys4(__NR_io_uring_register, r->fd, IORING_REGISTER_FILES_UPDATE, &u, 1);

	return n < 0 ? (int)n : n == 1 ? 0 : -EINVAL;
}

void page_ring_read(struct page_ring *r, const struct page_request *q)
{
	struct io_uring_sqe *e = &r->sqes[r->tail & (r->entries - 1)];

	*e = (struct io_uring_sqe){
		.opcode = q->niovs ? IORING_OP_READV : IORING_OP_READ,
		.flags = IOSQE_FIXED_FILE,
		.fd = (int32_t)q->file,
		.off = q->off,
		.addr = q->va,
		.len = q->niovs ? q->niovs : q->len,
		.rw_flags = RWF_NOWAIT,
		.user_data = q->data,
	};
	/* the kernel must see the entry before it sees the tail behind it */
	__atomic_store_n(r->sq_tail, ++r->tail, __ATOMIC_RELEASE);
	r->unsent++;
}

int page_ring_send(struct page_ring *r)
{
	while (r->unsent) {
		long n = sys6(__NR_io_uring_enter, (uint64_t)r->fd, r->unsent, 0, 0, 0, 0);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? (int)n : -EAGAIN;
		r->unsent -= (uint32_t)n;
		r->in_flight += (uint32_t)n;
	}
	return 0;
}

int page_ring_wait(const struct page_ring *r)
{
	long n = sys6(__NR_io_uring_enter, (uint64_t)r->fd, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);

	return n < 0 && n != -EINTR ? (int)n : 0;
}

bool page_ring_take(struct page_ring *r, uint64_t *ret_data, int32_t *ret_res)
{
	uint32_t head = *r->cq_head; /* nobody else moves it */
	const struct io_uring_cqe *e = &r->cqes[head & (2 * r->entries - 1)];

	if (head == __atomic_load_n(r->cq_tail, __ATOMIC_ACQUIRE))
		return false;
	*ret_data = e->user_data;
	*ret_res = e->res;
	__atomic_store_n(r->cq_head, head + 1, __ATOMIC_RELEASE);
	r->in_flight--;
	return true;
}

void page_ring_close(struct page_ring *r)
{
	if (r->sqes)
		sys2(__NR_munmap, r->sqes, r->entries * sizeof(*r->sqes));
	if (r->queues_va)
		sys2(__NR_munmap, r->queues_va, r->queues_len);
	sys1(__NR_close, r->fd);
	r->fd = PAGE_NONE;
}
