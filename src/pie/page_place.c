/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a worker's staging area to where it belongs, by a userfaultfd that the leader closes at the end. Where there is
 * none, chunks are read in place.
 *
 * UFFDIO_MOVE: huge pages for a task that never asked for them. The staging area asks for huge pages; they
 * go over by their page table entries, and the mapping itself is never told about huge pages, so its flags stay as the
 * image has them.
 *
 * UFFDIO_COPY: small pages without their page faults, and without zeroing them first: the kernel makes a page and
 * copies to it, one after the other, in a single call. That is a third faster than reading them in place, in
 * spite of copying twice (doc/pages.md). Kernels before 6.8 have nothing else.
 */
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/ioctl.h>
#include <linux/userfaultfd.h>

#include "pie/page_worker.h"

/* Debian 12's headers are older than the call. */
#ifndef UFFDIO_MOVE
struct uffdio_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

/*
 * Watching a part of a mapping cuts it in pieces, which the kernel joins again at
 * the end only if they have one reverse map (anon_vma) in common. A mapping gets
 * its reverse map with its first page: so one is made before the cut, and thrown away.
 */
static void root_mapping(const struct pie_iov *v)
{
	if (!sys3(__NR_madvise, v->va, 4096, 23 /* MADV_POPULATE_WRITE */))
		sys3(__NR_madvise, v->va, v->len, 4 /* MADV_DONTNEED */);
}

/* Kernels that cannot move refuse to be asked, and may be asked again. */
static long say_hello(long fd)
{
	struct uffdio_api with = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE }, without = { .api = UFFD_API };

	return sys3(__NR_ioctl, fd, UFFDIO_API, &with) ? sys3(__NR_ioctl, fd, UFFDIO_API, &without) : 0;
}

int page_place_watch(const struct pie_fill *f)
{
	const struct pie_iov *v = (const struct pie_iov *)f->ranges_va;
	long fd = f->staged && f->nranges ? sys1(__NR_userfaultfd, O_CLOEXEC) : -1;

	if (fd < 0)
		return -1;
	if (say_hello(fd))
		goto without;
	for (uint32_t i = 0; i < f->nranges; i++) {
		struct uffdio_register r = { .range = { v[i].va, v[i].len }, .mode = UFFDIO_REGISTER_MODE_MISSING };

		if (i < f->ncut)
			root_mapping(&v[i]);
		if (sys3(__NR_ioctl, fd, UFFDIO_REGISTER, &r))
			goto without;
	}
	return (int)fd;
without:
	sys1(__NR_close, fd);
	return -1;
}

/* Returns how much of it was done, at least a page: EAGAIN means that the kernel stopped on the way. */
static uint64_t copy_some(struct page_worker *w, uint64_t to_va, uint64_t from_va, uint64_t len)
{
	struct uffdio_copy c = { .dst = to_va, .src = from_va, .len = len };
	long r;

	do
		r = sys3(__NR_ioctl, w->f->uffd, UFFDIO_COPY, &c);
	while (r == -EAGAIN && c.copy <= 0);
	if (r && r != -EAGAIN)
		pie_fail(w->c, w->rec, (int)-r, ~0ul, to_va);
	return r ? (uint64_t)c.copy : len;
}

/* What the kernel will not move (EBUSY, EINVAL) is copied. */
static uint64_t move_some(struct page_worker *w, uint64_t to_va, uint64_t from_va, uint64_t len)
{
	struct uffdio_move m = { .dst = to_va, .src = from_va, .len = len };
	long r;

	do
		r = sys3(__NR_ioctl, w->f->uffd, UFFDIO_MOVE, &m);
	while (r == -EAGAIN && m.move <= 0);
	if (r && r != -EAGAIN)
		return copy_some(w, to_va, from_va, len);
	return r ? (uint64_t)m.move : len;
}

void page_place_move(struct page_worker *w, const struct pie_chunk *k, uint64_t from_va)
{
	uint64_t to_va = ((const struct pie_iov *)k->iovs_va)->va;

	for (uint64_t done = 0; done < k->len;)
		done += move_some(w, to_va + done, from_va + done, k->len - done);
}

void page_place_copy(struct page_worker *w, const struct pie_chunk *k, uint64_t from_va)
{
	const struct pie_iov *v = (const struct pie_iov *)k->iovs_va;

	for (uint32_t i = 0; i < k->niovs; from_va += v[i++].len)
		for (uint64_t done = 0; done < v[i].len;)
			done += copy_some(w, v[i].va + done, from_va + done, v[i].len - done);
}
