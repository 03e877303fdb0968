/* SPDX-License-Identifier: Apache-2.0 */
/* The page map of an object that was collected. */
#ifndef DUMP_PAGE_MAP_H
#define DUMP_PAGE_MAP_H

#include "kern/pagemap.h"
#include "page/collect.h"

/*
 * Fills p. mm: the task's, NULL of an object of its own or of a pre-dump; unchanged: what is left to the parent
 * images, NULL: nothing. Returns the number of pages stored, adds those left to *parent_pages.
 */
uint64_t page_map_fill(struct arena *a, const struct collect_object *o, const MmEntry *mm,
		       const struct pagemap_runs *unchanged, struct snap_pages *p, uint64_t *parent_pages);

#endif
