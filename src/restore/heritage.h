/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task finds in its memory when it is born, and what it keeps: copy-on-write memory.
 *
 * Memory is shared between two tasks only if one was forked while the other had it. So a
 * task that has pages in common with its creator is created when the creator's memory
 * stands; it keeps the mappings that hold such pages, throws away what is not its own, and
 * fills only what differs. All others are created at once, and find nothing.
 */
#ifndef RESTORE_HERITAGE_H
#define RESTORE_HERITAGE_H

#include "restore/rt.h"

/* A piece of a mapping of its creator's that is a piece of one of its own. */
struct heirloom {
	uint64_t start, end;
	const VmaEntry *from; /* the creator's */
	uint32_t prot;        /* what it comes with */
};

struct heritage {
	const struct rtask *from; /* whose memory it finds: the nearest creator that is no stand-in */
	struct heirloom *kept;    /* ascending */
	size_t nkept;
	/* Within the kept: the same pages; pages that may be; pages that are not its own. Ascending, whole pages. */
	struct pie_iov *same, *compare, *drop;
	size_t nsame, ncompare, ndrop;
	uint64_t same_bytes, compare_bytes;
};

/* For every task of the tree: what it keeps, and so when it has to be created. */
void heritage_plan(struct restore *r);
/* Emits what frees k's memory of all that it does not keep. */
void heritage_emit(struct restore *r, const struct rtask *k, struct prog *p);
/* The first of k's heirlooms that ends behind va. n: none. */
size_t heritage_at(const struct heritage *h, uint64_t va);
/* How many bytes of programs and their data this may need. */
uint64_t heritage_room(const struct restore *r);

#endif
