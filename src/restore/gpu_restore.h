/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU side of a restore. The driver brings a process back in a thread of that process, which must run while all
 * others stand still. So as soon as a task stands (memory, descriptors, threads), that one thread goes through its
 * sigreturn ahead of the commit, the driver starts, and the other tasks are not held up.
 */
#ifndef RESTORE_GPU_RESTORE_H
#define RESTORE_GPU_RESTORE_H

#include "restore/rt.h"

/* Finds the CUDA processes of the image. */
int gpu_restore_plan(struct restore *r) must_check;
/* Connects to the agent if there are any: before anything is created. */
int gpu_restore_open(struct restore *r) must_check;
/* Starts what can be started and looks what is done; to be called whenever the board or the agent may have news. */
int gpu_restore_tend(struct restore *r) must_check;
/* How many are not done; they have the agent's descriptor to poll. */
size_t gpu_restore_left(const struct restore *r);
int gpu_restore_fd(const struct restore *r);
/* Memory that thaw brings back itself (gpu_back.h): until it is loaded, and into the tasks when they run. */
int gpu_restore_loaded(struct restore *r) must_check;
int gpu_restore_return(struct restore *r) must_check;
/* All of them may use their GPUs again: right before the commit. */
int gpu_restore_unlock(struct restore *r) must_check;
/* The thread of a task that runs already, and the mask it is to have; 0: none. */
size_t gpu_restore_thread(const struct restore *r, const struct rtask *k, uint64_t *ret_mask);
void gpu_restore_close(struct restore *r);

#endif
