/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept on the GPUs (gpu_keep.h) goes: it is taken out of the list, overwritten, and its memory given back. Why
 * is said in the log. Never before whoever copies from it is done, which takes milliseconds.
 */
#ifndef GPU_GPU_GIVE_H
#define GPU_GPU_GIVE_H

#include "gpu/gpu_keep.h"

/* The one on the GPU (GPU_MOST: on any) that was not used for longest; false: there is none. Adds to *bytes. */
bool gpu_give_oldest(struct gpu_keep *k, size_t gpu, const char *why, uint64_t *bytes);
/* Oldest first, until so much is free on the GPU, or nothing kept there any more. */
void gpu_give_room(struct gpu_keep *k, size_t gpu, uint64_t need, const char *why);
/* What this file held before it was changed is of no use to anybody. */
void gpu_give_stale(struct gpu_keep *k, const struct gpu_image *image);
/* Returns how many bytes. */
uint64_t gpu_give_all(struct gpu_keep *k);
/* A thread: times that are over, and GPUs that others make full. */
void *gpu_give_watch(void *keep);

#endif
