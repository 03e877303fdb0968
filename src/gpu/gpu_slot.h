/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot of the context pool: what costs time to get from the driver and can be used again and again on one GPU: a
 * context, a stream, pinned buffers.
 *
 * The context is the GPU's primary one, which all slots of a GPU hold together: the driver counts them. One of its own
 * for each slot would take 110-140 ms and 525 MiB of the GPU's memory (H100, driver 580), and could do no more: work is
 * kept apart by streams.
 *
 * What a slot was used for is private to the process it was used for. So whoever writes to
 * its buffers or takes device memory in its context does it through here, and scrubbing overwrites exactly that.
 */
#ifndef GPU_GPU_SLOT_H
#define GPU_GPU_SLOT_H

#include <stdbool.h>

#include "gpu/gpu_driver.h"

/* Two, so that one is filled while the other is copied. */
enum { GPU_BUFFERS = 2, GPU_BUFFER_LEN = 32 << 20 };

struct gpu_slot {
	const struct cuda_api *api;
	size_t gpu; /* its place in gpu_driver.device */
	int device;
	cuda_ctx ctx;
	cuda_stream stream;
	void *buffer[GPU_BUFFERS]; /* NULL in a slot that was made without */
	size_t used_len[GPU_BUFFERS];
	cuda_ptr mem;
	size_t mem_len; /* 0: none */

	/* the pool's, under its lock */
	struct gpu_slot *next;
	bool extra; /* made on the spot: goes when it is released */
	pid_t pid;  /* for whom it works, 0: free */
	uint64_t since_ns;
};

/* Of what it got before something failed nothing is left. */
int gpu_slot_make(const struct gpu_driver *d, size_t gpu, bool buffers, struct gpu_slot **ret) must_check;
void gpu_slot_destroy(struct gpu_slot *s);

/* Buffer i for len bytes (at most GPU_BUFFER_LEN), which will be overwritten when the slot is released. */
void *gpu_slot_buffer(struct gpu_slot *s, size_t i, size_t len);
/* Device memory, one piece a slot; it is overwritten and freed when the slot is released. */
int gpu_slot_mem(struct gpu_slot *s, size_t len, cuda_ptr *ret) must_check;

/* Nothing of what was in it can be read any more; on failure the slot must not be used again. */
int gpu_slot_scrub(struct gpu_slot *s) must_check;

#endif
