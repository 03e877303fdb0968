/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which image a descriptor shows, so that what was read from it can stand for it: the same file, unchanged since.
 *
 * The kernel notes each write in the file's times; one that changes neither (through a mapping that was made and
 * touched long before) is not seen.
 */
#ifndef GPU_GPU_IMAGE_H
#define GPU_GPU_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

struct gpu_image {
	uint64_t dev, ino, len;
	struct timespec modified, changed;
};

/*
 * -EPERM unless the descriptor was opened for reading, which proves that whoever had it may know the contents. A file
 * that was written in this very moment is waited for: its next change might not show.
 */
int gpu_image_of(int fd, struct gpu_image *ret) must_check;
bool gpu_image_same(const struct gpu_image *a, const struct gpu_image *b);

#endif
