/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU agent: one process that has the driver loaded and warm, and works on CUDA processes for all others.
 *
 * The main thread alone talks to clients and never calls the driver, so it answers whatever the driver does. Steps
 * run in threads of their own (gpu_job.h).
 */
#ifndef GPU_GPU_AGENT_H
#define GPU_GPU_AGENT_H

#include "base/err.h"

struct gpu_agent_opts {
	const char *socket; /* NULL: the usual one */
	int pool_size;      /* contexts a GPU */
	int idle_s;         /* ends after so long without a client; 0: never */
	int ready_fd;       /* tells gpu_spawn() when it listens; -1: started by hand */
};

/* Serves until SIGTERM or SIGINT, or until nobody has needed it for long. Before threads exist. */
int gpu_agent_run(const struct gpu_agent_opts *o) must_check;

#endif
