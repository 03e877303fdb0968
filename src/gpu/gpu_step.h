/* SPDX-License-Identifier: Apache-2.0 */
/* One step of the driver on a process, with all that the agent has for it: contexts, buffers, room on the GPUs. */
#ifndef GPU_GPU_STEP_H
#define GPU_GPU_STEP_H

#include "gpu/gpu_job.h"

/* payload_fd: the file of a checkpoint or restore in which the agent is to copy (gpu_lent.h); -1: the driver copies. */
int gpu_step_run(struct gpu_jobs *jobs, const struct gpu_request *q, int payload_fd) must_check;

#endif
