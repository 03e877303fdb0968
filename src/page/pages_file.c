/* SPDX-License-Identifier: Apache-2.0 */
/* A pages file written by several threads (pages_file.h). */
#include "page/pages_file.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { WRITE_IOVS = 1024, MANY_WRITERS = 4 };

void pages_file_prepare(struct pages_file *f, uint64_t most_len, unsigned writers)
{
	struct statfs fs;
	void *map;

	f->map = NULL;
	if (writers < MANY_WRITERS || !most_len || fstatfs(f->fd, &fs) || fs.f_type != TMPFS_MAGIC)
		return;
	if (ftruncate(f->fd, (off_t)most_len) < 0)
		return;
	map = mmap(NULL, most_len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (map == MAP_FAILED)
		return;
	f->map = map;
	f->map_len = most_len;
}

/* The pages are made first, by a call that can say that there is no room: a mere store would be a SIGBUS. */
static int copy(const struct pages_file *f, const struct iovec *v, size_t n, uint64_t off)
{
	uint64_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += v[i].iov_len;
	if (madvise(f->map + off, len, MADV_POPULATE_WRITE) < 0)
		return err_set(errno == EFAULT || errno == ENOMEM ? ENOSPC : errno, "pages-%u.img: write at offset %lu",
			       f->pages_id, off);
	for (size_t i = 0; i < n; off += v[i++].iov_len)
		memcpy(f->map + off, v[i].iov_base, v[i].iov_len);
	return 0;
}

int pages_file_write(const struct pages_file *f, struct iovec *v, size_t n, uint64_t off)
{
	if (f->map && n)
		return copy(f, v, n, off);
	while (n) {
		ssize_t put = pwritev(f->fd, v, n < WRITE_IOVS ? (int)n : WRITE_IOVS, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return err_set(put ? errno : EIO, "pages-%u.img: write at offset %lu", f->pages_id, off);
		off += (uint64_t)put;
		for (; n && (size_t)put >= v->iov_len; v++, n--)
			put -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (uint8_t *)v->iov_base + put;
			v->iov_len -= (size_t)put;
		}
	}
	return 0;
}

int pages_file_finish(struct pages_file *f, uint64_t len)
{
	if (!f->map)
		return 0;
	munmap(f->map, f->map_len);
	f->map = NULL;
	return ftruncate(f->fd, (off_t)len) < 0 ? err_set(errno, "pages-%u.img: set its length", f->pages_id) : 0;
}
