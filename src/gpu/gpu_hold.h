/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPU memory that the agent has for itself: one block on one GPU, mapped in its own address space only. It is never
 * exported, so nobody else can see or change what is in it; and it is overwritten before it is given back.
 *
 * It holds the GPU's primary context as the slots of the pool do (gpu_slot.h), and is independent of these.
 */
#ifndef GPU_GPU_HOLD_H
#define GPU_GPU_HOLD_H

#include <stdbool.h>

#include "gpu/gpu_copy.h"

struct gpu_hold {
	const struct gpu_driver *driver;
	size_t gpu;      /* its place in gpu_driver.device */
	cuda_ctx ctx;
	uint64_t handle;
	cuda_ptr at;
	uint64_t len;    /* whole GPU_PAGEs */
};

/* Whether the driver has the calls that this needs. */
bool gpu_hold_possible(const struct gpu_driver *d);

/* -ENOMEM: the GPU has no room for it. */
int gpu_hold_make(const struct gpu_driver *d, size_t gpu, uint64_t len, struct gpu_hold *ret) must_check;
void gpu_hold_free(struct gpu_hold *h);

/* Copies the parts that are on its GPU, one behind the other, into it, or (out) from it: as many bytes as it has. */
int gpu_hold_copy(const struct gpu_hold *h, bool out, const struct gpu_part *part, size_t n) must_check;
/* What of its GPU's memory is free; 0 when that cannot be told. */
uint64_t gpu_hold_left(const struct gpu_hold *h);

#endif
