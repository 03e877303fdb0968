/* SPDX-License-Identifier: Apache-2.0 */
/* The GPU memory of one image, as the agent keeps it (gpu_keep.h): a block on each GPU that has pieces of it. */
#ifndef GPU_GPU_KEPT_H
#define GPU_GPU_KEPT_H

#include "gpu/gpu_hold.h"
#include "gpu/gpu_image.h"

/* All under the lock of gpu_keep, but what never changes: image, path, parts, and the holds of one that is complete. */
struct gpu_kept {
	struct gpu_kept *next;
	struct gpu_image image;
	char path[256];       /* for people */
	struct gpu_part *part; /* what is where; addresses mean nothing here */
	size_t n_parts, n_holds;
	struct gpu_hold hold[GPU_MOST];
	uint64_t bytes, made_ns, used_ns, until_ns, hits;
	size_t users;         /* copying from it: it stays until they are done */
	uint32_t seconds;
};

void gpu_kept_free(struct gpu_kept *e);
/* What it has on a GPU, or NULL. */
const struct gpu_hold *gpu_kept_hold(const struct gpu_kept *e, size_t gpu);
/* Whether it is that image, with these parts. */
bool gpu_kept_is(const struct gpu_kept *e, const struct gpu_image *image, const struct gpu_part *part, size_t n);
/* Into it, or (out) from it. */
int gpu_kept_copy(const struct gpu_kept *e, bool out, const struct gpu_part *part, size_t n) must_check;

#endif
