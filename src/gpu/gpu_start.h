/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's start, which takes 0.1 to 0.2 s on a GPU that nobody uses: a thread of its own does it while clients
 * connect and restores fill their memory. Whoever needs the driver waits here.
 */
#ifndef GPU_GPU_START_H
#define GPU_GPU_START_H

#include <pthread.h>
#include <stdbool.h>

#include "gpu/gpu_driver.h"
#include "gpu/gpu_pool.h"

struct gpu_start {
	struct gpu_driver *driver;
	struct gpu_pools *pools;
	size_t pool_size;
	int wake_fd; /* an eventfd: counted up when it is over */
	pthread_mutex_t lock;
	pthread_cond_t over;
	/* under the lock */
	bool is_over;
	int result;
	char text[1024];
};

/* Goes on with a driver that is loaded; the pools are filled behind it. */
int gpu_start_begin(struct gpu_start *s) must_check;

/* 0 when driver and pools are there; else the failure, to everybody who asks. */
int gpu_start_wait(struct gpu_start *s) must_check;
/* 1: not over; 0: there; else the failure. Never waits. */
int gpu_start_state(struct gpu_start *s) must_check;

#endif
