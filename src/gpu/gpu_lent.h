/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPU memory that the driver lends (CUDA 13.4, "custom storage"): at a checkpoint it maps all that a process has on its
 * GPUs in the agent, one range a GPU, which the agent copies to a file; at a restore the same ranges are there to be
 * filled. cuCheckpointOperationComplete() ends either. So large memory is moved at the rate of bus and file, without a
 * copy in the process's own memory, and without the preloaded library.
 *
 * The file holds the ranges in the order of the UUIDs that the GPUs had at the checkpoint, each from a whole GPU_PAGE
 * on; zeros are holes.
 *
 * Nothing is lost when the file cannot be written: the memory goes through a file in memory back to the GPU, and the
 * process is locked as before. There is no other way back once the driver has begun.
 */
#ifndef GPU_GPU_LENT_H
#define GPU_GPU_LENT_H

#include "gpu/gpu_pool.h"

struct gpu_lent {
	const struct gpu_driver *driver;
	const struct gpu_holding *slots; /* on all GPUs that the process may have memory on, with buffers */
	pid_t pid;
	int payload_fd;
	const struct gpu_map *map;       /* of a restore */
	bool doomed;                     /* if it cannot be restored it ends: nobody will see what it has then */
};

/* 1: the driver lends nothing after all, and the process is as before. The file holds something otherwise. */
int gpu_lent_checkpoint(const struct gpu_lent *l) must_check;
int gpu_lent_restore(const struct gpu_lent *l) must_check;

#endif
