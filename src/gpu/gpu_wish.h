/* SPDX-License-Identifier: Apache-2.0 */
/* What a restore wishes to be kept on the GPUs (--gpu-keep): as users write it, and as it goes to the agent. */
#ifndef GPU_GPU_WISH_H
#define GPU_GPU_WISH_H

#include <stdint.h>

#include "base/err.h"
#include "base/opts.h"

enum { GPU_WISH_SECONDS = 600, GPU_WISH_SECONDS_MOST = 1000000 };

struct gpu_wish {
	uint64_t bytes;   /* at most so much on each GPU; 0: what the agent thinks right */
	uint32_t seconds; /* since the last use; 0: nothing is kept, and nothing kept is used */
	uint32_t zero;
};

/* "", "SIZE", "SIZE,SECONDS" or ",SECONDS"; the last one counts. Not given at all: no wish. */
int gpu_wish_parse(const struct opt_list *given, struct gpu_wish *ret) must_check;

#endif
