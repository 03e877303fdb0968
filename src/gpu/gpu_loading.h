/* SPDX-License-Identifier: Apache-2.0 */
/* Filling the memory of a load (gpu_stream.h): from what is kept of the image (gpu_keep.h), or from its file. */
#ifndef GPU_GPU_LOADING_H
#define GPU_GPU_LOADING_H

#include "gpu/gpu_keep.h"
#include "gpu/gpu_pool.h"
#include "gpu/gpu_stream.h"

struct gpu_loading {
	struct gpu_keep *keep;
	struct gpu_wish wish;
	struct gpu_copy copy;   /* the parts are mapped */
	enum gpu_source source; /* and what follows: as it went */
	uint64_t bytes;         /* not zero, as far as that was seen */
	char text[256];         /* what there is to say of what is kept */
};

int gpu_loading_run(struct gpu_loading *l, const struct gpu_holding *slots) must_check;

#endif
