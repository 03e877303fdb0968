/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Areas: whole, aligned ranges of 2 MiB that the images fill completely, neighbours joined to at most PIE_STAGING.
 *
 * They are what huge pages can be used for without taking more memory than there was. From how many files of a chain
 * their pages come does not matter here: of 1 GiB in which one page in a hundred was written to since the
 * image before, hardly a range comes from one file alone.
 */
#ifndef PAGE_AREA_H
#define PAGE_AREA_H

#include "page/chunk.h"

/* A list of ranges that is walked along with ascending addresses. */
struct area_track {
	const struct pie_iov *v;
	size_t n, at; /* at: the first that does not lie behind us */
};

/* Whether va is in one of the ranges; *len comes down to where that changes. */
bool area_within(struct area_track *t, uint64_t va, uint64_t *len);

/* All areas of p, ascending; ret NULL: only counts them. An area stays within one of rules->huge. */
size_t areas_find(const struct snap_pages *p, const struct chunk_rules *rules, struct pie_iov *ret);

#endif
