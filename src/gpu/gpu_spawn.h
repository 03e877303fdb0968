/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the agent on demand. */
#ifndef GPU_GPU_SPAWN_H
#define GPU_GPU_SPAWN_H

#include "base/err.h"

/*
 * Starts an agent that listens at path, and returns when it does; 0 as well when somebody else has just started
 * one. Fails as the agent failed, with its sentence.
 */
int gpu_spawn(const char *path) must_check;

/* The agent's word to the one that started it, through the descriptor of --ready-fd: result, and err_text(). */
void gpu_spawn_tell(int ready_fd, int result);
/* Leaves the starter's family, before any thread exists: its waits must not meet this process. */
int gpu_spawn_detach(void) must_check;

#endif
