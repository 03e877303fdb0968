/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The direct path of a restore: the agent makes the large GPU memory and streams it in from the start, beside
 * everything else; when the process runs, its preloaded library maps it where it was and opens the gate.
 */
#ifndef RESTORE_GPU_BACK_H
#define RESTORE_GPU_BACK_H

#include "gpu/gpu_client.h"
#include "restore/rt.h"

struct gpu_back;

/* The memory of one task; NULL when it has none that was dumped so. */
int gpu_back_plan(struct restore *r, const struct rtask *k, struct gpu_back **ret) must_check;
/* The agent begins to load it. */
int gpu_back_begin(struct restore *r, struct gpu_back *b, struct gpu_client *c, const struct gpu_map *map) must_check;
/* Until it is loaded: before the commit. */
int gpu_back_wait(struct gpu_back *b) must_check;
/* The task runs, and the driver has restored and unlocked it. */
int gpu_back_return(struct gpu_back *b) must_check;
/*
 * GPU memory that the driver lent at the checkpoint, and lends again (gpu/gpu_lent.h). can: before anything is created;
 * lend: instead of the driver's plain restore.
 */
int gpu_back_can_lend(struct gpu_client *c) must_check;
int gpu_back_lend(struct restore *r, const struct rtask *k, struct gpu_client *c, const struct gpu_map *map,
		  uint32_t *ret_ticket) must_check;
void gpu_back_free(struct gpu_back *b);

#endif
