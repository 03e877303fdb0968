/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver as the agent uses it: its GPUs, and the steps on processes, with sentences for what it answers.
 *
 * All calls may block for as long as the driver likes, and may be made from several threads at once.
 */
#ifndef GPU_GPU_DRIVER_H
#define GPU_GPU_DRIVER_H

#include "gpu/cuda_api.h"
#include "gpu/gpu_client.h"

struct gpu_device {
	int handle;
	uint8_t uuid[GPU_UUID_LEN];
	char name[64], bus[16]; /* bus: "" when not told */
	int minor;              /* /dev/nvidiaN */
	size_t mem_len;
};

struct gpu_driver {
	struct cuda_api api;
	char release[32]; /* "580.159.04" */
	size_t n;
	struct gpu_device device[GPU_MOST];
};

/* Starts the driver that is loaded (d->api) and lists the GPUs. */
int gpu_driver_init(struct gpu_driver *d) must_check;

/* GPU_NONE when pid is no CUDA process. */
int gpu_driver_state(const struct gpu_driver *d, pid_t pid, enum gpu_state *ret) must_check;
int gpu_driver_restore_tid(const struct gpu_driver *d, pid_t pid, pid_t *ret) must_check;
/* Whether the GPUs that are to take over are here; the sentence names the one that is not. */
int gpu_driver_check(const struct gpu_driver *d, const struct gpu_map *map) must_check;
/*
 * timeout_ms: for GPU_LOCK, which the driver gives up itself. map: for GPU_RESTORE. lent (or NULL): of a checkpoint or
 * restore, which is not complete then (gpu_lent.h).
 */
int gpu_driver_step(const struct gpu_driver *d, enum gpu_step step, pid_t pid, uint32_t timeout_ms,
		    const struct gpu_map *map, struct cuda_lent **lent) must_check;

#endif
