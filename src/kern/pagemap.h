/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of a task hold something: runs of pages out of /proc/PID/pagemap.
 *
 * PAGEMAP_SCAN (6.7) finds them in the kernel, a whole address space in a few
 * ioctls. Where it is missing, the 64-bit entries are read and sorted out here,
 * with less knowledge: the zero page looks like any other page then.
 *
 * A run may cross from one mapping into the next when both touch; the caller clips.
 */
#ifndef KERN_PAGEMAP_H
#define KERN_PAGEMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

/* Categories: the kernel's values (linux/fs.h), which older headers lack. */
#define PAGEMAP_WPALLOWED  (UINT64_C(1) << 0)
#define PAGEMAP_WRITTEN    (UINT64_C(1) << 1)
#define PAGEMAP_FILE       (UINT64_C(1) << 2) /* page cache or shared memory, not a private copy */
#define PAGEMAP_PRESENT    (UINT64_C(1) << 3)
#define PAGEMAP_SWAPPED    (UINT64_C(1) << 4) /* any entry that is not present: swap, migration, markers */
#define PAGEMAP_PFNZERO    (UINT64_C(1) << 5) /* the shared zero page */
#define PAGEMAP_HUGE       (UINT64_C(1) << 6) /* mapped by a PMD */
#define PAGEMAP_SOFT_DIRTY (UINT64_C(1) << 7)
#define PAGEMAP_GUARD      (UINT64_C(1) << 8) /* MADV_GUARD_INSTALL; told since 6.15, else it reads as SWAPPED */

struct pagemap_run {
	uint64_t start_va, end_va;
	uint64_t categories; /* of those asked for in want */
};

struct pagemap_runs { /* starts as {0}; grows; pagemap_runs_free() */
	struct pagemap_run *run;
	size_t n, cap;
};

struct pagemap {
	int fd;
	bool scan;  /* PAGEMAP_SCAN works */
	bool guard; /* and knows PAGEMAP_GUARD */
};

struct pagemap_query { /* a page is taken when ((categories ^ inverted) & all) == all, and & any != 0 if any is set */
	uint64_t inverted, all, any;
	uint64_t want; /* reported in runs; runs that differ in these are not merged */
};

/* Pages with private contents: present or swapped, neither file pages, nor the zero page, nor guards. */
extern const struct pagemap_query pagemap_private;
/*
 * The same for mappings without a file. To know file pages the kernel must look at
 * every page's descriptor; not asking is quicker (2 GiB of 4 KiB pages: 7 instead of 20 ms).
 */
extern const struct pagemap_query pagemap_anon;
/* Guard pages; nothing where the kernel does not tell them. */
extern const struct pagemap_query pagemap_guard;

/* Opens the pagemap of the process and finds out what the kernel knows. 0 or -errno with a trail. */
int pagemap_open(int proc_fd, struct pagemap *ret_pm) must_check;
void pagemap_close(struct pagemap *pm);

/*
 * Appends the runs in [start_va, end_va) to out, ascending. Without pm->scan every
 * page in the range costs 8 bytes of reading: keep to mappings there. 0 or -errno with a trail.
 */
int pagemap_scan(const struct pagemap *pm, const struct pagemap_query *q, uint64_t start_va, uint64_t end_va,
		 struct pagemap_runs *out) must_check;
/*
 * Whether every page of the n ranges is mapped by this process alone. False also when it cannot be told: of a page that
 * is swapped out, for one. In order of address it costs one read for 2 MiB at most.
 */
bool pagemap_exclusive(const struct pagemap *pm, const struct iovec *v, size_t n);
void pagemap_runs_free(struct pagemap_runs *runs);
/* Appends one more, which continues the last one if it touches it. */
int pagemap_runs_add(struct pagemap_runs *runs, const struct pagemap_run *run) must_check;

/*
 * Marks all pages in the range as not written, in mappings that a userfaultfd watches for writing
 * (UFFD_FEATURE_WP_ASYNC); the others stay as they are. Pages that are not there are left alone: once they
 * are, they count as written. of_file: a mapping of a file, of which only private copies are protected.
 */
int pagemap_protect(const struct pagemap *pm, uint64_t start_va, uint64_t end_va, bool of_file) must_check;

#endif
