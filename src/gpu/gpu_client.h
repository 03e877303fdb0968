/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What dump, restore and `thaw cuda` see of the GPU agent (gpu_agent.h): a connection,
 * and steps that work on CUDA processes by PID.
 *
 * The driver's checkpoint interface can be called from any process with libcuda and
 * takes 0.1 s and a context to get going. So one agent does it for all, from one
 * thread per target, and thaw itself never loads the driver. A step is started, and
 * waited for: all targets of a tree are in work at once.
 */
#ifndef GPU_GPU_CLIENT_H
#define GPU_GPU_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * As the driver numbers them (CUprocessState), and NONE: no CUDA process. CHECKPOINTING and RESTORING: it lends the
 * process's memory to somebody (gpu_lent.h).
 */
enum gpu_state {
	GPU_RUNNING, GPU_LOCKED, GPU_CHECKPOINTED, GPU_FAILED, GPU_CHECKPOINTING, GPU_RESTORING, GPU_NONE
};

enum gpu_step { GPU_LOCK, GPU_CHECKPOINT, GPU_RESTORE, GPU_UNLOCK };

enum { GPU_UUID_LEN = 16, GPU_MOST = 32 };

/* Which GPU takes the place of which (--gpu-map); n 0: each stays itself. */
struct gpu_map {
	size_t n;
	struct gpu_pair {
		uint8_t from[GPU_UUID_LEN], to[GPU_UUID_LEN];
	} pair[GPU_MOST];
};

struct gpu_client;

/*
 * Connects to the agent of this user, which is started when there is none. socket: its path, NULL: the usual one.
 * -ENOENT with a sentence when this machine has no driver, -ENOTSUP when it is older than 570. A new agent starts the
 * driver from here on (0.1 to 0.2 s): only the first question or step waits for that, and tells if it failed.
 */
int gpu_client_open(const char *socket, struct gpu_client **ret) must_check;
/* The same to an agent that is there already: -ENOENT or -ECONNREFUSED when none is. */
int gpu_client_join(const char *socket, struct gpu_client **ret) must_check;
/* Closing takes back nothing: what was locked stays locked. */
void gpu_client_close(struct gpu_client *c);

/* Any question (gpu_wire.h); what follows are some. ret_value and ret_text (which the caller frees): or NULL. */
int gpu_client_ask(struct gpu_client *c, uint32_t op, pid_t pid, int *ret_value, char **ret_text) must_check;
int gpu_client_state(struct gpu_client *c, pid_t pid, enum gpu_state *ret) must_check;
/* The thread of pid that must be able to run while the driver works on it. */
int gpu_client_restore_tid(struct gpu_client *c, pid_t pid, pid_t *ret) must_check;

/* Whether the GPUs that map puts in the place of others are here: before anything is restored. */
int gpu_client_check(struct gpu_client *c, const struct gpu_map *map) must_check;
/* Lets it give up what it keeps on the GPUs; how much that was. */
int gpu_client_drop(struct gpu_client *c, uint64_t *ret_bytes) must_check;
/* What GPUs there are, their free memory and what pid has of it, as text for gpu_spare_read(); the caller frees it. */
int gpu_client_spare(struct gpu_client *c, pid_t pid, char **ret_text) must_check;
/* What the agent is and does, as JSON text that the caller frees. */
int gpu_client_status(struct gpu_client *c, char **ret_json) must_check;

/*
 * Starts one step for one process; several may be on their way. timeout_ms: how long to wait for the driver, 0: no
 * limit. Not thread-safe: one client is one thread's.
 */
int gpu_client_start(struct gpu_client *c, enum gpu_step step, pid_t pid, uint32_t timeout_ms,
		     const struct gpu_map *map, uint32_t *ret_ticket) must_check;
/* Whether the driver lends GPU memory, so that the next call is possible. */
int gpu_client_lends(struct gpu_client *c, bool *ret) must_check;
/*
 * Starts a checkpoint or restore in which the agent moves the GPU memory to or from the file fd. doomed: the process
 * will be ended if that fails.
 */
int gpu_client_lend(struct gpu_client *c, enum gpu_step step, pid_t pid, uint32_t timeout_ms,
		    const struct gpu_map *map, int fd, bool doomed, uint32_t *ret_ticket) must_check;
/*
 * Lets the agent save GPU memory (of process pid) to a file, or load it; what is to be said goes over the socket
 * `channel` (gpu_stream.h), of which it gets a copy. There is no answer but over that.
 */
int gpu_client_stream(struct gpu_client *c, bool load, pid_t pid, int channel) must_check;
/*
 * Waits for a step. -ETIMEDOUT when the driver has not answered, -EPIPE when the agent is gone; both leave the process
 * in a state that gpu_client_state() of a new connection tells. ret_ns (or NULL): what the driver took.
 */
int gpu_client_wait(struct gpu_client *c, uint32_t ticket, uint64_t *ret_ns) must_check;
/* Whether ticket's answer has come; and a descriptor that polls readable when it may be worth asking that again. */
bool gpu_client_done(struct gpu_client *c, uint32_t ticket);
int gpu_client_fd(const struct gpu_client *c);

#endif
