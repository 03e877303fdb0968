/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages for a task that never asked for them. A chunk of whole 2 MiB ranges is
 * read into the worker's staging area, which asks for huge pages, and moved to where
 * it belongs by UFFDIO_MOVE: the pages go over by their page table entries, and the
 * mapping itself is never told about huge pages, so its flags stay as the image has
 * them. For that the ranges are registered with a userfaultfd, which the leader
 * closes at the end. Where the kernel has no UFFDIO_MOVE, chunks are read in place.
 */
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

int page_place_watch(const struct pie_fill *f)
{
	const struct pie_iov *v = (const struct pie_iov *)f->ranges_va;
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	long fd = f->staged && f->nranges ? sys1(__NR_userfaultfd, O_CLOEXEC) : -1;

	if (fd < 0)
		return -1;
	if (sys3(__NR_ioctl, fd, UFFDIO_API, &api))
		goto without;
	for (uint32_t i = 0; i < f->nranges; i++) {
		struct uffdio_register r = { .range = { v[i].va, v[i].len }, .mode = UFFDIO_REGISTER_MODE_MISSING };

		root_mapping(&v[i]);
		if (sys3(__NR_ioctl, fd, UFFDIO_REGISTER, &r))
			goto without;
	}
	return (int)fd;
without:
	sys1(__NR_close, fd);
	return -1;
}

/* To its place by its page table entries; what the kernel will not move (EBUSY, EINVAL) is copied. */
void page_place_move(struct page_worker *w, uint64_t to_va, uint64_t from_va, uint64_t len)
{
	while (len) {
		struct uffdio_move m = { .dst = to_va, .src = from_va, .len = len };
		long r = sys3(__NR_ioctl, w->f->uffd, UFFDIO_MOVE, &m);
		uint64_t done = r ? (m.move > 0 ? (uint64_t)m.move : 0) : len;

		if (r && r != -11 /* EAGAIN: part of it, or somebody held a lock */) {
			struct uffdio_copy c = { .dst = to_va, .src = from_va, .len = len };

			r = sys3(__NR_ioctl, w->f->uffd, UFFDIO_COPY, &c);
			if (r && r != -11)
				pie_fail(w->c, w->rec, (int)-r, 0, to_va);
			done = r ? (c.copy > 0 ? (uint64_t)c.copy : 0) : len;
		}
		to_va += done;
		from_va += done;
		len -= done;
	}
}
