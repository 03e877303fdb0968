/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a whole restore, on the board: whoever fills memory takes one and gives
 * it back when there is no more work for it; whoever has work left takes what others gave
 * back. So what a small task gives back a large one takes, and nobody says beforehand who
 * gets how many.
 *
 * One who fills memory without being a worker (the leader of a small task, the engine's
 * main thread) counts, too, but does not wait: then there are less than none to be had.
 *
 * Shared by the blob and the engine; waiting and waking is theirs.
 */
#ifndef PIE_BUDGET_H
#define PIE_BUDGET_H

#include <stdint.h>

struct pie_budget {
	int32_t free;     /* atomic */
	uint32_t hungry;  /* atomic: how many wait for more */
	uint32_t bell;    /* atomic, futex: rung when one is given back and somebody is hungry */
	uint32_t next_id; /* atomic: the number in ids_va that nobody has used yet */
	uint64_t ids_va;  /* array of int32_t: thread IDs for page workers, which no image needs */
	uint32_t nids;
	uint32_t workers; /* how many there are in all; 0: every task fills its memory by itself */
};

/* At most `most` of those that are free. Returns how many. */
static inline uint32_t budget_take(struct pie_budget *b, uint32_t most)
{
	int32_t seen = __atomic_load_n(&b->free, __ATOMIC_RELAXED), got;

	do
		got = seen < 0 ? 0 : (uint32_t)seen < most ? seen : (int32_t)most;
	while (got && !__atomic_compare_exchange_n(&b->free, &seen, seen - got, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	return (uint32_t)got;
}

/* One who does not wait. */
static inline void budget_count(struct pie_budget *b)
{
	__atomic_sub_fetch(&b->free, 1, __ATOMIC_ACQ_REL);
}

/* Returns true if the bell has to be heard: wake whoever sleeps on it. */
static inline int budget_give(struct pie_budget *b, uint32_t n)
{
	__atomic_add_fetch(&b->free, (int32_t)n, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&b->hungry, __ATOMIC_SEQ_CST))
		return 0;
	__atomic_add_fetch(&b->bell, 1, __ATOMIC_SEQ_CST);
	return 1;
}

#endif
