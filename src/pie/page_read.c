/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a page worker reads: its own descriptors of the pages files, and a chunk from
 * its file to its place. Chunks of whole 2 MiB ranges go through the worker's staging
 * area (page_place.c), the others are read where they belong.
 */
#include <linux/falloc.h>
#include <linux/fcntl.h>

#include "pie/page_worker.h"

static int file_of(struct page_worker *w, uint32_t file, uint64_t off)
{
	const struct pie_file *names = (const struct pie_file *)w->f->files_va;
	long fd = -1;

	if (!w->fd[file]) {
		/* not to be able to punch is no reason not to restore */
		if (w->f->punch)
			fd = sys4(__NR_openat, names[file].dirfd, names[file].name, O_RDWR | O_CLOEXEC, 0);
		if (fd < 0)
			fd = sys4(__NR_openat, names[file].dirfd, names[file].name, O_RDONLY | O_CLOEXEC, 0);
		if (fd < 0)
			pie_fail(w->c, w->rec, (int)-fd, file, off);
		w->fd[file] = (int32_t)fd;
	}
	return w->fd[file];
}

/* Reads the rest of a chunk that came short: one piece after the other, from byte `done` on. */
static void fill_rest(struct page_worker *w, const struct pie_chunk *k, int fd, uint64_t done)
{
	const struct pie_iov *v = (const struct pie_iov *)k->iovs_va;
	uint64_t at = 0; /* where in the chunk the piece begins */

	for (uint32_t i = 0; i < k->niovs; at += v[i++].len) {
		while (done < at + v[i].len) {
			long n = sys4(__NR_pread64, fd, v[i].va + (done - at), at + v[i].len - done, k->off + done);

			if (n == -4 /* EINTR */ || n == -11 /* EAGAIN */)
				continue;
			if (n <= 0) /* 61: ENODATA, the file is too short */
				pie_fail(w->c, w->rec, n ? (int)-n : 61, k->file, k->off + done);
			done += (uint64_t)n;
		}
	}
}

static void fill_in_place(struct page_worker *w, const struct pie_chunk *k, int fd)
{
	long n = sys4(__NR_preadv, fd, k->iovs_va, k->niovs, k->off);

	if (n != (long)k->len)
		fill_rest(w, k, fd, n > 0 ? (uint64_t)n : 0);
}

static void fill_huge(struct page_worker *w, const struct pie_chunk *k, int fd)
{
	uint64_t staging_va = w->f->staging_va + (uint64_t)w->number * PIE_STAGING;
	struct pie_iov v = { staging_va, k->len };
	struct pie_chunk staged = *k;

	staged.iovs_va = (uint64_t)&v;
	fill_in_place(w, &staged, fd);
	page_place_move(w, ((const struct pie_iov *)k->iovs_va)->va, staging_va, k->len);
}

void page_read_chunk(struct page_worker *w, const struct pie_chunk *k)
{
	int fd = file_of(w, k->file, k->off);

	if (k->huge && w->f->uffd >= 0)
		fill_huge(w, k, fd);
	else
		fill_in_place(w, k, fd);
	if (w->f->punch &&
	    sys4(__NR_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, k->off, k->len) < 0)
		__atomic_add_fetch(&w->c->board->unpunched, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&w->c->board->bytes, k->len, __ATOMIC_RELAXED);
}

void page_read_end(struct page_worker *w)
{
	for (uint32_t i = 0; i < w->f->nfiles; i++)
		if (w->fd[i])
			sys1(__NR_close, w->fd[i]);
}
