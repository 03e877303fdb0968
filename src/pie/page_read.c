/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a page worker reads: its own descriptors of the pages files, the way that is best
 * for a chunk, and a chunk from its file to its place. Chunks of whole 2 MiB ranges go
 * through the worker's staging area (page_place.c), the others are read where they belong.
 *
 * The ways (doc/pages.md has the figures): what the page cache holds is copied by preadv,
 * which nothing beats; what it does not hold is read past it (O_DIRECT), which saves the
 * copy and the cache; and rather through a ring (page_ahead.c), so that the disk always has work.
 */
#include <linux/errno.h>
#include <linux/falloc.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#include "pie/page_worker.h"

/* Newer than the headers of Debian 12. */
enum { NR_CACHESTAT = 451 };

enum { AUTO_LEAST = 64 << 10 }; /* what is smaller is not worth a look: one seek, and the kernel reads ahead */

static int open_file(struct page_worker *w, uint32_t file, uint64_t flags)
{
	const struct pie_file *names = (const struct pie_file *)w->f->files_va;

	return (int)sys4(__NR_openat, names[file].dirfd, names[file].name, flags | O_CLOEXEC, 0);
}

/* Memory is always aligned to a page. Who does not say how the file must be (before Linux 6.1) gets pages, too. */
static int open_direct(struct page_worker *w, uint32_t file)
{
	int fd = open_file(w, file, O_RDONLY | O_DIRECT);
	struct statx x;

	if (fd < 0)
		return PAGE_NONE;
	if (sys5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) || !(x.stx_mask & STATX_DIOALIGN)) {
		w->file[file].align = 4096;
		if (w->f->io == PIE_IO_DIRECT)
			return fd;
	} else {
		w->file[file].align = x.stx_dio_offset_align;
		if (x.stx_dio_offset_align && x.stx_dio_mem_align <= 4096)
			return fd;
	}
	sys1(__NR_close, fd);
	return PAGE_NONE;
}

int page_read_file(struct page_worker *w, uint32_t file, bool direct)
{
	struct page_file *p = &w->file[file];

	if (direct) {
		if (p->direct_fd == PAGE_UNTRIED)
			p->direct_fd = open_direct(w, file);
		return p->direct_fd;
	}
	/* not to be able to punch is no reason not to restore */
	if (p->fd < 0 && w->f->punch)
		p->fd = open_file(w, file, O_RDWR);
	if (p->fd < 0)
		p->fd = open_file(w, file, O_RDONLY);
	if (p->fd < 0)
		pie_fail(w->c, w->rec, -p->fd, file, 0);
	return p->fd;
}

/* Is less than half of it in the page cache? */
static bool is_cold(struct page_worker *w, const struct pie_chunk *k)
{
	uint64_t range[2] = { k->off, k->len }, stat[5];

	return k->len >= AUTO_LEAST &&
	       !sys4(NR_CACHESTAT, page_read_file(w, k->file, false), range, stat, 0) && stat[0] * 4096 < k->len / 2;
}

static bool wants_direct(struct page_worker *w, const struct pie_chunk *k)
{
	if (w->f->io != PIE_IO_DIRECT && (w->f->io != PIE_IO_AUTO || !is_cold(w, k)))
		return false;
	/* where the file system wants more than pages, the odd chunk goes through the page cache */
	return page_read_file(w, k->file, true) >= 0 && !((k->off | k->len) & (w->file[k->file].align - 1));
}

/* One piece after the other. A direct read may end anywhere and cannot go on from there: the page cache can. */
void page_read_rest(struct page_worker *w, const struct pie_chunk *k, bool direct, uint64_t done)
{
	const struct pie_iov *v = (const struct pie_iov *)k->iovs_va;
	uint64_t at = 0; /* where in the chunk the piece begins */
	int fd = page_read_file(w, k->file, direct);

	for (uint32_t i = 0; i < k->niovs; at += v[i++].len) {
		while (done < at + v[i].len) {
			long n = sys4(__NR_pread64, fd, v[i].va + (done - at), at + v[i].len - done, k->off + done);

			if (n == -EINTR || n == -EAGAIN)
				continue;
			if (n == -EINVAL && direct) {
				direct = false;
				fd = page_read_file(w, k->file, false);
				continue;
			}
			if (n <= 0) /* ENODATA: the file is too short */
				pie_fail(w->c, w->rec, n ? (int)-n : ENODATA, k->file, k->off + done);
			done += (uint64_t)n;
		}
	}
}

static void read_now(struct page_worker *w, const struct pie_chunk *k, bool direct)
{
	long n = sys4(__NR_preadv, page_read_file(w, k->file, direct), k->iovs_va, k->niovs, k->off);

	if (n != (long)k->len)
		page_read_rest(w, k, direct, n > 0 ? (uint64_t)n : 0);
}

void page_read_done(struct page_worker *w, const struct pie_chunk *k, uint32_t slot)
{
	if (page_staged(w, k) && k->compare)
		page_compare(k, page_staging(w, slot));
	else if (page_staged(w, k))
		page_place_move(w, ((const struct pie_iov *)k->iovs_va)->va, page_staging(w, slot), k->len);
	if (w->f->punch && sys4(__NR_fallocate, page_read_file(w, k->file, false),
				FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, k->off, k->len) < 0)
		__atomic_add_fetch(&w->c->board->unpunched, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&w->c->board->bytes, k->len, __ATOMIC_RELAXED);
}

void page_read_chunk(struct page_worker *w, const struct pie_chunk *k)
{
	bool direct = wants_direct(w, k);
	struct pie_iov v = { page_staging(w, 0), k->len };
	struct pie_chunk staged = *k;

	if (direct)
		__atomic_add_fetch(&w->c->board->direct, k->len, __ATOMIC_RELAXED);
	if ((direct || w->f->io == PIE_IO_URING) && page_ahead_chunk(w, k, direct))
		return;
	if (page_staged(w, k)) {
		staged.iovs_va = (uint64_t)&v;
		staged.niovs = 1;
	}
	read_now(w, &staged, direct);
	page_read_done(w, k, 0);
}

void page_read_begin(struct page_worker *w)
{
	w->ring.fd = PAGE_UNTRIED;
	for (uint32_t i = 0; i < PAGE_JOBS; i++)
		w->job[i].k = NULL;
	for (uint32_t i = 0; i < PIE_MAX_FILES; i++) {
		w->file[i].fd = w->file[i].direct_fd = PAGE_UNTRIED;
		w->file[i].ringed = false;
	}
}

void page_read_end(struct page_worker *w)
{
	page_ahead_end(w);
	for (uint32_t i = 0; i < w->f->nfiles; i++) {
		if (w->file[i].fd >= 0)
			sys1(__NR_close, w->file[i].fd);
		if (w->file[i].direct_fd >= 0)
			sys1(__NR_close, w->file[i].direct_fd);
	}
}
