/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a page worker reads: its own descriptors of the pages files, the way that is best
 * for a chunk, and a chunk from its file to its place: through the worker's staging area (page_place.c), or at once.
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

enum { PART_IOVS = 64 }; /* on the stack, which is small */
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

static void count_read(struct page_worker *w, const struct pie_chunk *k, bool direct)
{
	if (direct)
		__atomic_add_fetch(&w->c->board->direct, k->len, __ATOMIC_RELAXED);
	__atomic_add_fetch(&w->c->board->bytes, k->len, __ATOMIC_RELAXED);
}

/* A part goes to the same place within the staging area as in the end: shift says how far off that is. */
static void read_part(struct page_worker *w, const struct pie_chunk *part, bool direct, uint64_t shift)
{
	const struct pie_iov *v = (const struct pie_iov *)part->iovs_va;
	struct pie_iov there[PART_IOVS];
	struct pie_chunk some = { .off = part->off, .iovs_va = (uint64_t)there, .file = part->file };

	for (uint32_t i = 0; i < part->niovs;) {
		some.len = some.niovs = 0;
		while (some.niovs < PART_IOVS && i < part->niovs) {
			there[some.niovs++] = (struct pie_iov){ v[i].va + shift, v[i].len };
			some.len += (uint32_t)v[i++].len;
		}
		read_now(w, &some, direct);
		some.off += some.len;
	}
}

/* The parts of k from number `from` on. */
static void read_parts(struct page_worker *w, const struct pie_chunk *k, uint32_t slot, uint32_t from)
{
	const struct pie_chunk *part = (const struct pie_chunk *)k->parts_va;
	uint64_t area_va = ((const struct pie_iov *)k->iovs_va)->va;
	uint64_t shift = page_staged(w, k) ? page_staging(w, slot) - area_va : 0;

	for (uint32_t i = from; i < k->nparts; i++) {
		bool direct = wants_direct(w, &part[i]);

		read_part(w, &part[i], direct, shift);
		count_read(w, &part[i], direct);
	}
}

/* Not to be able to is no failure. */
static void punch(struct page_worker *w, const struct pie_chunk *k)
{
	if (sys4(__NR_fallocate, page_read_file(w, k->file, false), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, k->off,
		 k->len) < 0)
		__atomic_add_fetch(&w->c->board->unpunched, 1, __ATOMIC_RELAXED);
}

static void place(struct page_worker *w, const struct pie_chunk *k, uint32_t slot)
{
	const struct pie_chunk *read = page_first_read(k);
	uint64_t from_va = page_staging(w, slot);

	if (page_staged(w, k)) {
		if (k->how == PIE_MOVE)
			page_place_move(w, k, from_va);
		else if (k->how == PIE_COPY)
			page_place_copy(w, k, from_va);
		else
			page_compare(k, from_va);
	}
	for (uint32_t i = 0; w->f->punch && i < (k->nparts ? k->nparts : 1); i++)
		punch(w, &read[i]);
}

void page_read_done(struct page_worker *w, const struct pie_chunk *k, uint32_t slot)
{
	read_parts(w, k, slot, 1);
	place(w, k, slot);
}

static void read_whole(struct page_worker *w, const struct pie_chunk *k, bool direct)
{
	struct pie_iov v = { page_staging(w, 0), k->len };
	struct pie_chunk staged = *k;

	if (page_staged(w, k)) {
		staged.iovs_va = (uint64_t)&v;
		staged.niovs = 1;
	}
	read_now(w, &staged, direct);
	count_read(w, k, direct);
}

void page_read_chunk(struct page_worker *w, const struct pie_chunk *k)
{
	const struct pie_chunk *first = page_first_read(k);
	bool direct = wants_direct(w, first);

	if ((direct || w->f->io == PIE_IO_URING) && page_ahead_chunk(w, k, direct)) {
		count_read(w, first, direct);
		return;
	}
	if (k->nparts)
		read_parts(w, k, 0, 0);
	else
		read_whole(w, k, direct);
	place(w, k, 0);
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
