/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vdso of a restored task.
 *
 * Same kernel build: the running kernel's own mappings are moved to where the
 * image's stood. Another kernel: the image's vdso code stays at its address as
 * ordinary memory, with each of its functions patched to jump to the running
 * kernel's, which is moved to a free place.
 */
#ifndef RESTORE_VDSO_PLACE_H
#define RESTORE_VDSO_PLACE_H

#include "arch/x86_64/vdso.h"
#include "restore/rt.h"

struct rvdso {
	const VmaEntry *vdso; /* the image's; NULL: the task had none */
	struct vdso_plan plan;
	uint64_t move_va;     /* where the running block goes; 0: nowhere, it ends with the hole */
};

/* Compares the vdso of every task with the running one. Reads image pages. */
int vdso_place_plan(struct restore *r) must_check;
/* Before filling: room for the image's vdso if it is bridged. */
void vdso_place_emit_map(struct restore *r, const struct snap_task *t, struct prog *p);
/* At the end: patches, and the running block to its place. */
void vdso_place_emit_move(struct restore *r, const struct snap_task *t, struct prog *p);
/* Where it is in the restored task; 0: it has none. */
uint64_t vdso_place_va(const struct restore *r, const struct snap_task *t);

#endif
