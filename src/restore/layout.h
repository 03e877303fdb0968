/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of a restore: the hole that is free in every task and in the engine,
 * and where the running kernel's vdso goes.
 *
 *   hole_va  [ space: blob code, board, programs (shared) | scratch: stacks (private) | park: vvar and vdso
 *              | staging: huge pages on their way (private, there only while memory is filled) ]
 */
#ifndef RESTORE_LAYOUT_H
#define RESTORE_LAYOUT_H

#include "kind/kind.h"

enum { LAYOUT_PIECES = 4, LAYOUT_WORKERS = 64 };

struct layout {
	uint64_t hole_va, space_len, scratch_len, park_len; /* page multiples */
	uint64_t scratch_va, park_va, staging_va, staging_len, end_va; /* staging: 2 MiB aligned */
	uint32_t staging_slots; /* staging areas of each worker */
	/* the running kernel's [vvar], [vvar_vclock], [vdso]: one block, in this order, as the engine has it */
	uint64_t vdso_block_va, vdso_block_len, vdso_va, vdso_len;
	/* each piece is a mapping of its own and moves on its own, keeping its distance from the others */
	struct layout_piece {
		uint64_t off, len;
	} piece[LAYOUT_PIECES];
	size_t npieces;
};

/*
 * Chooses everything; -ENOMEM when no gap is large enough. Reads /proc/self/maps. rings: workers read ahead. room:
 * bytes for programs, beyond what is usual.
 */
int layout_choose(struct restoring *r, uint32_t workers, bool rings, uint64_t room, struct layout *ret) must_check;
/* A gap of len bytes in one task's address space (for a vdso that cannot stand where the image's stood). 0: none. */
uint64_t layout_gap(const struct layout *l, const struct snap_task *t, uint64_t len);

/* Stacks in the scratch area: the leader's, the threads' (by their top), the page workers' (by their base). */
static inline uint64_t layout_leader_stack(const struct layout *l)
{
	return l->scratch_va + PIE_STACK;
}
static inline uint64_t layout_thread_stack(const struct layout *l, size_t k)
{
	return l->scratch_va + (k + 1) * PIE_STACK;
}
/* Page workers are gone before threads exist: they use the same room. */
static inline uint64_t layout_worker_stacks(const struct layout *l)
{
	return l->scratch_va + PIE_STACK;
}

#endif
