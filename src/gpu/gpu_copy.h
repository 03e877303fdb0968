/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes between GPU memory and a file, as fast as the machine moves them: per GPU a crew of threads, each with a stream
 * and a part of the slot's pinned buffers. One reads or writes the file while another's copy is on the bus: with
 * enough of them the slower of file and bus is never idle.
 */
#ifndef GPU_GPU_COPY_H
#define GPU_GPU_COPY_H

#include <stdbool.h>

#include "gpu/gpu_pieces.h"
#include "gpu/gpu_slot.h"

/* A piece as the agent has it. */
struct gpu_part {
	size_t gpu;          /* in gpu_driver.device */
	uint64_t handle;     /* 0: none yet */
	cuda_ptr at;         /* 0: not mapped */
	uint64_t len, offset; /* offset: in the payload, from where it has whole GPU_PAGEs */
};

struct gpu_copy {
	const struct gpu_driver *driver;
	bool load;
	int payload_fd;
	const struct gpu_part *part;
	size_t n;
};

/* slots: one for each GPU that a part is on. *ret_bytes: what was not zero. */
int gpu_copy_run(const struct gpu_copy *c, struct gpu_slot *const *slots, size_t n_slots,
		 uint64_t *ret_bytes) must_check;

#endif
