/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs as device nodes: which /dev/nvidiaN is which GPU, and which of them a process has open. */
#ifndef GPU_GPU_NODES_H
#define GPU_GPU_NODES_H

#include <stdint.h>
#include <sys/types.h>

#include "gpu/gpu_driver.h"

/* N of the GPU at a bus address ("0000:00:06.0"), -1: not told. */
int gpu_nodes_minor(const char *bus);

/* Bit i: pid has GPU i of the driver open. 0: none, or not told. */
uint32_t gpu_nodes_open(const struct gpu_driver *d, pid_t pid);

#endif
