/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library that `thaw run` has put into a CUDA process, from outside (preload/ask.h): it lets go of the process's
 * large GPU memory, and takes it back.
 *
 *   take: the gate is closed, the GPU is idle, *ret holds the memory | release: the process has let go of it
 *   return: it is mapped in the process again | own: it is the process's own again, and the gate is open
 *
 * To own it, it copies it piece by piece, since a driver can neither export nor restore what was made elsewhere. By
 * then everybody else should have let go of it. A process that is not without its memory goes on when the library is
 * closed.
 */
#ifndef GPU_GPU_LIBRARY_H
#define GPU_GPU_LIBRARY_H

#include <sys/types.h>

#include "gpu/gpu_pieces.h"

struct gpu_library {
	int sock;
};

/* 1; 0: the process has none, or has shut its door. The process must be able to run, here and in all that follows. */
int gpu_library_open(pid_t pid, struct gpu_library *ret) must_check;
void gpu_library_close(struct gpu_library *l);

int gpu_library_take(const struct gpu_library *l, uint32_t timeout_ms, struct gpu_pieces *ret) must_check;
int gpu_library_release(const struct gpu_library *l) must_check;
int gpu_library_return(const struct gpu_library *l, const struct gpu_pieces *p) must_check;
int gpu_library_own(const struct gpu_library *l) must_check;

#endif
