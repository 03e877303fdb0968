/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent keeps on its GPUs (--gpu-keep): for each image that was loaded a copy of the GPU memory in it, so that
 * the next restore of the same image copies on the GPU (at more than 1 TB/s) instead of reading a file.
 *
 * A copy, and not the memory itself: a restored program writes to its own, and the virtual memory interface has no
 * copy-on-write, nor can it tell that nobody who has a descriptor maps it writable. So what is kept never leaves the
 * agent.
 *
 * The same image is the same file, unchanged (gpu_image.h), with the same pieces in the same order on the same GPUs.
 * The descriptor that the client has opened tells, and is the proof that it may read what is in it.
 *
 * Kept memory is nobody's need. It goes when its time is over, when the limits of a newer wish say so, and oldest
 * first when anything that the agent does needs the room, or the GPU becomes full for whatever reason (gpu_give.h).
 */
#ifndef GPU_GPU_KEEP_H
#define GPU_GPU_KEEP_H

#include <pthread.h>

#include "gpu/gpu_kept.h"
#include "gpu/gpu_wish.h"

struct gpu_keep {
	const struct gpu_driver *driver;
	int wake_fd; /* an eventfd: counted up when less is kept; -1: none */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t watcher;
	bool watched, ending;
	struct gpu_kept *first;
};

void gpu_keep_init(struct gpu_keep *k, const struct gpu_driver *d, int wake_fd);
/* Gives up all, and ends the thread that watches times and free memory. */
void gpu_keep_end(struct gpu_keep *k);

/*
 * 1: what is kept of the image was copied into parts, which are mapped; 0: nothing of it is. A copy that fails is
 * given up, with a warning.
 */
int gpu_keep_use(struct gpu_keep *k, const struct gpu_image *image, const struct gpu_part *part, size_t n,
		 const struct gpu_wish *wish) must_check;
/* Copies parts that were loaded from the image. Failure means that it is not kept, which the sentence explains. */
int gpu_keep_add(struct gpu_keep *k, const struct gpu_image *image, const char *path, const struct gpu_part *part,
		 size_t n, const struct gpu_wish *wish) must_check;

bool gpu_keep_any(struct gpu_keep *k);

#endif
