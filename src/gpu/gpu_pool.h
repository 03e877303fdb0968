/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context pools: for each GPU some slots (gpu_slot.h) that are made ahead.
 *
 * A context that anybody holds makes all that follows cheaper (cuInit of another process takes 10 instead of 101 ms,
 * and the restore of a process begins with that). But making one costs others: the steps of an agent that was filling
 * its pool took 0.9 instead of 0.6 s. So a thread per GPU makes slots while no step is under way, and steps go without
 * one until then; only who needs their buffers waits.
 *
 * A pool that found no room in GPU memory, or made room for a process, has no slots for a while.
 *
 * Nobody ever waits for a slot that another one holds. With all of them in use one is made on the spot, and freed
 * afterwards; so a process group on several GPUs cannot deadlock with another.
 */
#ifndef GPU_GPU_POOL_H
#define GPU_GPU_POOL_H

#include <pthread.h>

#include "gpu/gpu_slot.h"

enum { GPU_POOL_MOST = 8 };

struct gpu_pool { /* all under the lock of gpu_pools */
	struct gpu_pools *all;
	size_t gpu;
	pthread_t filler;
	bool started, filling, ending;
	bool given_up; /* has none for now */
	uint64_t given_up_ns;
	struct gpu_slot *first; /* all slots, free and held */
};

struct gpu_pools {
	const struct gpu_driver *driver;
	size_t size; /* slots a GPU */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t steps;       /* under way */
	uint64_t quiet_ns;  /* since when none is */
	size_t waiting;     /* for a pool to be filled */
	struct gpu_pool pool[GPU_MOST]; /* as many as GPUs */
};

/* What is wanted, for whom. */
struct gpu_want {
	pid_t pid;
	uint32_t gpus;  /* bit i: a slot on GPU i */
	bool buffers;   /* they will be used: waits for a pool that is still being filled */
	bool if_free;   /* what is not free is left out; without buffers that goes for pools that are not filled, too */
};

/* What was got: at most one slot a GPU. */
struct gpu_holding {
	size_t n;
	struct gpu_slot *slot[GPU_MOST];
};

/* Starts to fill all pools with size slots each, in the background. */
int gpu_pools_start(struct gpu_pools *p, const struct gpu_driver *d, size_t size) must_check;
/* Takes down all that is not held. */
void gpu_pools_end(struct gpu_pools *p);
/* Leaves the GPUs' memory to others. Steps go without a slot then. */
void gpu_pools_give_up(struct gpu_pools *p);
/* Fills pools again that were given up at least after_ns ago. One thread calls it, and gpu_pools_end(). */
void gpu_pools_refill(struct gpu_pools *p, uint64_t after_ns);

/* A step of the driver begins, or (-1) ends. */
void gpu_pools_step(struct gpu_pools *p, int more);

/* All or nothing (but if_free). Thread-safe. */
int gpu_pools_acquire(struct gpu_pools *p, const struct gpu_want *want, struct gpu_holding *ret) must_check;
/* Whether there are slots, on any GPU. */
bool gpu_pools_any(struct gpu_pools *p);
/* Scrubs and gives back. */
void gpu_pools_release(struct gpu_pools *p, struct gpu_holding *h);

#endif
