/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the GPUs have free, and how much of it a process has: asked of NVML (libnvidia-ml.so.1), which needs
 * neither a context nor a driver that has been started, so that a restore can be refused before it begins. Without that
 * library nobody knows, and the driver's own restore finds out.
 */
#ifndef GPU_GPU_SPARE_H
#define GPU_GPU_SPARE_H

#include <pthread.h>

#include "gpu/gpu_client.h"
#include "gpu/gpu_words.h"

struct gpu_spare {
	pthread_mutex_t lock;
	bool tried; /* to load it */
	struct nvml *nvml;
};

void gpu_spare_init(struct gpu_spare *r);
/*
 * One line a GPU, as gpu_spare_read() reads it. pid: of which process. What the agent has itself counts as free, since
 * it gives that up when a restore is short of it. holds: it has something.
 */
int gpu_spare_write(struct gpu_spare *r, bool holds, pid_t pid, char *text, size_t len) must_check;

/* The client's side of it. */
struct gpu_spares {
	size_t n;
	struct gpu_spare_of {
		char uuid[GPU_UUID_TEXT], name[64];
		uint64_t free_len, used_len; /* UINT64_MAX: unknown */
	} v[GPU_MOST];
};
int gpu_spare_read(const char *text, struct gpu_spares *ret) must_check;
const struct gpu_spare_of *gpu_spare_find(const struct gpu_spares *spares, const char *uuid);

#endif
