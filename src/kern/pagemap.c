/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of pages (pagemap.h). The kernel's structure is declared here, for
 * Debian 12's headers are of 6.1.
 */
#include "kern/pagemap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

struct scan_arg { /* struct pm_scan_arg of linux/fs.h */
	uint64_t size, flags;
	uint64_t start, end, walk_end;
	uint64_t vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)

enum { PAGE_LEN = 4096, VEC_MIN = 512, PROTECT_VEC = 64, SCAN_WP_MATCHING = 1 };

/* Bits of a 64-bit entry of pagemap. */
#define ENTRY_SOFT_DIRTY (UINT64_C(1) << 55)
#define ENTRY_EXCLUSIVE  (UINT64_C(1) << 56) /* of a present page: mapped once */
#define ENTRY_GUARD      (UINT64_C(1) << 58)
#define ENTRY_FILE       (UINT64_C(1) << 61)
#define ENTRY_SWAP       (UINT64_C(1) << 62)
#define ENTRY_PRESENT    (UINT64_C(1) << 63)

const struct pagemap_query pagemap_private = {
	.inverted = PAGEMAP_FILE | PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.all = PAGEMAP_FILE | PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.any = PAGEMAP_PRESENT | PAGEMAP_SWAPPED,
	.want = PAGEMAP_SWAPPED | PAGEMAP_HUGE,
};

const struct pagemap_query pagemap_anon = {
	.inverted = PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.all = PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.any = PAGEMAP_PRESENT | PAGEMAP_SWAPPED,
	.want = PAGEMAP_SWAPPED | PAGEMAP_HUGE,
};

const struct pagemap_query pagemap_guard = {
	.all = PAGEMAP_GUARD,
	.want = PAGEMAP_GUARD,
};

static bool scan_knows(int fd, uint64_t category)
{
	struct pagemap_run run;
	struct scan_arg arg = {
		.size = sizeof(arg), .vec = (uintptr_t)&run, .vec_len = 1, .start = 0, .end = PAGE_LEN,
		.category_mask = category, .return_mask = category,
	};

	return ioctl(fd, SCAN_IOCTL, &arg) >= 0;
}

int pagemap_open(int proc_fd, struct pagemap *ret_pm)
{
	int fd = openat(proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(errno, "open pagemap");
	ret_pm->fd = fd;
	ret_pm->guard = scan_knows(fd, PAGEMAP_GUARD);
	ret_pm->scan = ret_pm->guard || scan_knows(fd, PAGEMAP_PRESENT);
	return 0;
}

void pagemap_close(struct pagemap *pm)
{
	if (pm->fd >= 0)
		close(pm->fd);
	pm->fd = -1;
}

void pagemap_runs_free(struct pagemap_runs *runs)
{
	free(runs->run);
	*runs = (struct pagemap_runs){ 0 };
}

/* Room for at least `more` runs behind the last. */
static int runs_reserve(struct pagemap_runs *runs, size_t more)
{
	size_t cap = runs->cap ? runs->cap : VEC_MIN;
	struct pagemap_run *run;

	while (cap - runs->n < more)
		cap *= 2;
	if (cap == runs->cap)
		return 0;
	run = realloc(runs->run, cap * sizeof(*run));
	if (!run)
		return err_set(ENOMEM, "pagemap: %zu runs", cap);
	runs->run = run;
	runs->cap = cap;
	return 0;
}

/* Takes one more run, which continues the last one if it touches it and is of the same kind. */
static int runs_push(struct pagemap_runs *runs, const struct pagemap_run *run)
{
	struct pagemap_run *last = runs->n ? &runs->run[runs->n - 1] : NULL;
	int r;

	if (last && last->end_va == run->start_va && last->categories == run->categories) {
		last->end_va = run->end_va;
		return 0;
	}
	r = runs_reserve(runs, 1);
	if (!r && runs->run)
		runs->run[runs->n++] = *run;
	return r;
}

int pagemap_runs_add(struct pagemap_runs *runs, const struct pagemap_run *run)
{
	return runs_push(runs, run);
}

static int scan_ioctl(const struct pagemap *pm, const struct pagemap_query *q, uint64_t start_va, uint64_t end_va,
		      struct pagemap_runs *out)
{
	uint64_t known = pm->guard ? ~UINT64_C(0) : ~PAGEMAP_GUARD;
	struct scan_arg arg = {
		.size = sizeof(arg), .start = start_va, .end = end_va,
		.category_inverted = q->inverted & known, .category_mask = q->all & known,
		.category_anyof_mask = q->any & known, .return_mask = q->want & known,
	};

	while (arg.start < end_va) {
		int r = runs_reserve(out, VEC_MIN), n;

		if (r < 0)
			return r;
		arg.vec = (uintptr_t)(out->run + out->n);
		arg.vec_len = out->cap - out->n;
		n = ioctl(pm->fd, SCAN_IOCTL, &arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(errno, "PAGEMAP_SCAN of %lx-%lx", arg.start, end_va);
		if (arg.walk_end <= arg.start)
			return err_say(EIO, "PAGEMAP_SCAN of %lx-%lx stands still", arg.start, end_va);
		for (size_t first = out->n, i = 0; !r && i < (size_t)n; i++) {
			struct pagemap_run run = out->run[first + i]; /* pushing never outruns reading */

			r = runs_push(out, &run);
		}
		if (r < 0)
			return r;
		arg.start = arg.walk_end;
		/* 6.18 sometimes says that it stopped before the last runs that it gave: they would come twice */
		if (n > 0 && out->run[out->n - 1].end_va > arg.start)
			arg.start = out->run[out->n - 1].end_va;
	}
	return 0;
}

static uint64_t entry_categories(uint64_t e)
{
	return (e & ENTRY_PRESENT ? PAGEMAP_PRESENT : 0) | (e & ENTRY_SWAP ? PAGEMAP_SWAPPED : 0) |
	       (e & ENTRY_FILE ? PAGEMAP_FILE : 0) | (e & ENTRY_SOFT_DIRTY ? PAGEMAP_SOFT_DIRTY : 0) |
	       (e & ENTRY_GUARD ? PAGEMAP_GUARD : 0);
}

static bool entry_matches(uint64_t categories, const struct pagemap_query *q)
{
	uint64_t seen = categories ^ q->inverted;

	return (seen & q->all) == q->all && (!q->any || (seen & q->any));
}

static int scan_entries(const struct pagemap *pm, const struct pagemap_query *q, uint64_t start_va, uint64_t end_va,
			struct pagemap_runs *out)
{
	uint64_t entry[4096];

	while (start_va < end_va) {
		uint64_t pages = (end_va - start_va) / PAGE_LEN;
		size_t want = pages < ARRAY_LEN(entry) ? pages : ARRAY_LEN(entry);
		ssize_t got = io_pread(pm->fd, entry, want * sizeof(*entry), start_va / PAGE_LEN * sizeof(*entry));

		if (got < 0)
			return err_set((int)-got, "read pagemap at %lx", start_va);
		if ((size_t)got < sizeof(*entry))
			return 0; /* the end of the address space */
		for (size_t i = 0; i < (size_t)got / sizeof(*entry); i++, start_va += PAGE_LEN) {
			uint64_t c = entry_categories(entry[i]);
			struct pagemap_run run = { start_va, start_va + PAGE_LEN, c & q->want };
			int r = entry_matches(c, q) ? runs_push(out, &run) : 0;

			if (r < 0)
				return r;
		}
	}
	return 0;
}

int pagemap_scan(const struct pagemap *pm, const struct pagemap_query *q, uint64_t start_va, uint64_t end_va,
		 struct pagemap_runs *out)
{
	if (start_va >= end_va)
		return 0;
	if (start_va % PAGE_LEN || end_va % PAGE_LEN)
		return err_say(EINVAL, "pagemap: %lx-%lx is not made of pages", start_va, end_va);
	/* a category that cannot be told is never there */
	if ((q->all & ~q->inverted & PAGEMAP_GUARD) && pm->scan && !pm->guard)
		return 0;
	return (pm->scan ? scan_ioctl : scan_entries)(pm, q, start_va, end_va, out);
}

/* What pagemap says of [from, to). */
struct window {
	uint64_t entry[512], from, to;
};

static bool window_move(const struct pagemap *pm, struct window *w, uint64_t va)
{
	ssize_t got = io_pread(pm->fd, w->entry, sizeof(w->entry), va / PAGE_LEN * sizeof(*w->entry));

	if (got < (ssize_t)sizeof(*w->entry))
		return false;
	w->from = va;
	w->to = va + (uint64_t)got / sizeof(*w->entry) * PAGE_LEN;
	return true;
}

static bool entry_exclusive(uint64_t e)
{
	return !(e & ENTRY_SWAP) && (e & (ENTRY_PRESENT | ENTRY_EXCLUSIVE)) != ENTRY_PRESENT;
}

bool pagemap_exclusive(const struct pagemap *pm, const struct iovec *v, size_t n)
{
	struct window w;

	w.from = w.to = 0;
	for (size_t i = 0; i < n; i++)
		for (uint64_t va = (uint64_t)v[i].iov_base, end = va + v[i].iov_len; va < end; va += PAGE_LEN) {
			if ((va < w.from || va >= w.to) && !window_move(pm, &w, va))
				return false;
			if (!entry_exclusive(w.entry[(va - w.from) / PAGE_LEN]))
				return false;
		}
	return true;
}

/*
 * Without a vector the kernel protects whatever has a page table, holes as well, and in mappings of files those then
 * read as swapped out for ever. With one it protects what it tells.
 */
int pagemap_protect(const struct pagemap *pm, uint64_t start_va, uint64_t end_va, bool of_file)
{
	struct pagemap_run found[PROTECT_VEC];
	struct scan_arg arg = {
		.size = sizeof(arg), .flags = SCAN_WP_MATCHING, .start = start_va, .end = end_va,
		.category_mask = PAGEMAP_WRITTEN, .category_anyof_mask = PAGEMAP_PRESENT | PAGEMAP_SWAPPED,
		.return_mask = PAGEMAP_WRITTEN,
	};

	if (of_file) {
		arg.vec = (uintptr_t)found;
		arg.vec_len = PROTECT_VEC;
		arg.category_inverted = PAGEMAP_FILE;
		arg.category_mask |= PAGEMAP_FILE;
	}
	while (arg.start < end_va) {
		if (ioctl(pm->fd, SCAN_IOCTL, &arg) >= 0)
			arg.start = arg.walk_end;
		else if (errno != EINTR)
			return err_set(errno, "PAGEMAP_SCAN of %lx-%lx: protect", start_va, end_va);
	}
	return 0;
}
