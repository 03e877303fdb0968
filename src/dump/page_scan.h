/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages there are of a large mapping without a file, found by several threads: one alone takes 6 ms for a GiB of
 * small pages, which is as long as 16 of them need to read a sixth of it.
 */
#ifndef DUMP_PAGE_SCAN_H
#define DUMP_PAGE_SCAN_H

#include "base/arena.h"
#include "kern/pagemap.h"

/* Appends the runs of private pages in [start_va, end_va) to out, in order. */
int page_scan(const struct pagemap *pm, uint64_t start_va, uint64_t end_va, struct arena *a,
	      struct pagemap_runs *out) must_check;

#endif
