/* SPDX-License-Identifier: Apache-2.0 */
/* Room on the GPUs for a process that the driver is about to restore. */
#ifndef GPU_GPU_ROOM_H
#define GPU_GPU_ROOM_H

#include <sys/types.h>

#include "gpu/gpu_keep.h"

/*
 * What is kept gives way to it. All that the driver will put on a GPU is private memory of the process by now, so that
 * is enough. A driver that began without room might leave the process half restored.
 */
void gpu_room_make(struct gpu_keep *k, pid_t pid);

#endif
