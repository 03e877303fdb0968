/* SPDX-License-Identifier: Apache-2.0 */
/* A pages file written by several threads (pages_file.h). */
#include "page/pages_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/advice.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "img/img.h"

enum { WRITE_IOVS = 1024, MANY_WRITERS = 4, BLOCK = 2 << 20, SMALL = 4096 };
enum block_state { BLOCK_NONE, BLOCK_BUSY, BLOCK_DONE };

/* Room at a multiple of 2 MiB: huge pages want addresses and offsets alike. */
static bool map_file(struct pages_file *f, uint64_t len)
{
	f->room_len = len + BLOCK;
	f->room = mmap(NULL, f->room_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (f->room == MAP_FAILED)
		return false;
	f->map = (uint8_t *)(((uintptr_t)f->room + BLOCK - 1) & ~(uintptr_t)(BLOCK - 1));
	f->map_len = len;
	if (mmap(f->map, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, f->fd, 0) != MAP_FAILED)
		return true;
	munmap(f->room, f->room_len);
	return false;
}

/*
 * One small page, then the huge one: an empty block would not be collapsed. It is made by a write, for a mapped page
 * would have to be unmapped first, on all CPUs.
 */
static bool block_make(const struct pages_file *f, uint64_t b)
{
	return pwrite(f->fd, "", 1, (off_t)(b * BLOCK)) == 1 && !madvise(f->map + b * BLOCK, BLOCK, MADV_COLLAPSE);
}

/*
 * By whoever comes first; who comes meanwhile waits. One that cannot be had will have small pages. When that is known
 * of another, too, a block is taken first and waited for: whoever began to make it still writes to it.
 */
static void block_need(struct pages_file *f, uint64_t b)
{
	uint8_t none = BLOCK_NONE;

	if (b >= f->map_len / BLOCK)
		return;
	if (atomic_compare_exchange_strong(&f->block[b], &none, BLOCK_BUSY)) {
		if (!atomic_load(&f->short_of_huge) && !block_make(f, b))
			atomic_store(&f->short_of_huge, true);
		atomic_store(&f->block[b], BLOCK_DONE);
	}
	while (atomic_load(&f->block[b]) == BLOCK_BUSY)
		sched_yield();
}

static bool huge_blocks(struct pages_file *f, unsigned writers)
{
	f->short_of_huge = false;
	f->ahead = writers > 1 ? writers / 2 + 1 : 0;
	if (f->map_len < BLOCK || !block_make(f, 0))
		return false;
	f->block = calloc(f->map_len / BLOCK, sizeof(*f->block));
	if (f->block)
		atomic_store(&f->block[0], BLOCK_DONE);
	return f->block;
}

static void drop_map(struct pages_file *f)
{
	munmap(f->room, f->room_len);
	free((void *)f->block);
	f->map = NULL;
	f->block = NULL;
}

/* No room for the most that there can be: the pages that are no zeros may fit, nevertheless. */
static void prepare_direct(struct pages_file *f, uint64_t most_len)
{
	char path[32];
	struct statx x;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	if (statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) < 0 ||
	    (x.stx_mask & STATX_DIOALIGN && (!x.stx_dio_offset_align || x.stx_dio_offset_align > SMALL)))
		return;
	f->direct_fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
	if (f->direct_fd >= 0 && fallocate(f->fd, 0, 0, (off_t)most_len) < 0)
		log_debug("pages-%u.img: allocate %lu bytes: %s", f->pages_id, most_len, strerror(errno));
}

void pages_file_prepare(struct pages_file *f, uint64_t most_len, unsigned writers)
{
	struct statfs fs;
	bool in_memory = !fstatfs(f->fd, &fs) && fs.f_type == TMPFS_MAGIC;

	f->map = NULL;
	f->block = NULL;
	f->direct_fd = -1;
	if (f->direct && most_len && !in_memory)
		prepare_direct(f, most_len);
	if (!in_memory || !most_len || (writers < MANY_WRITERS && most_len < BLOCK))
		return;
	if (ftruncate(f->fd, (off_t)most_len) < 0 || !map_file(f, most_len))
		return;
	if (huge_blocks(f, writers) || writers >= MANY_WRITERS)
		return;
	drop_map(f);
	(void)!ftruncate(f->fd, 0);
}

/* The pages are made first, by a call that can say that there is no room: a mere store would be a SIGBUS. */
static bool make_room(struct pages_file *f, uint64_t off, uint64_t len)
{
	for (uint64_t b = off / BLOCK; f->block && b <= (off + len - 1) / BLOCK; b++)
		block_need(f, b);
	return !madvise(f->map + off, len, MADV_POPULATE_WRITE);
}

uint8_t *pages_file_room(struct pages_file *f, uint64_t off, uint64_t len)
{
	return f->map && make_room(f, off, len) ? f->map + off : NULL;
}

void pages_file_ahead(struct pages_file *f, uint64_t off, uint64_t len)
{
	uint64_t first = off / BLOCK, last = (off + len - 1) / BLOCK;

	if (f->block && (off % BLOCK == 0 || first != last))
		block_need(f, last + f->ahead);
}

static int copy(struct pages_file *f, const struct iovec *v, size_t n, uint64_t off)
{
	uint64_t len = 0;

	for (size_t i = 0; i < n; i++)
		len += v[i].iov_len;
	if (!make_room(f, off, len))
		return err_set(errno == EFAULT || errno == ENOMEM ? ENOSPC : errno, "pages-%u.img: write at offset %lu",
			       f->pages_id, off);
	pages_file_ahead(f, off, len);
	for (size_t i = 0; i < n; off += v[i++].iov_len)
		memmove(f->map + off, v[i].iov_base, v[i].iov_len);
	return 0;
}

int pages_file_write(struct pages_file *f, struct iovec *v, size_t n, uint64_t off)
{
	int fd = f->direct_fd >= 0 ? f->direct_fd : f->fd;

	if (f->map && n)
		return copy(f, v, n, off);
	while (n) {
		ssize_t put = pwritev(fd, v, n < WRITE_IOVS ? (int)n : WRITE_IOVS, (off_t)off);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EINVAL && fd != f->fd) { /* this file system takes none, or not from there */
			fd = f->fd;
			continue;
		}
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
	bool longer = f->map || f->direct_fd >= 0;

	if (f->map)
		drop_map(f);
	close_fd(&f->direct_fd);
	f->direct_fd = -1;
	if (longer && ftruncate(f->fd, (off_t)len) < 0)
		return err_set(errno, "pages-%u.img: set its length", f->pages_id);
	return img_finish(f->fd, IMG_PAGES, f->pages_id);
}
