/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPU memory between descriptors and a file: the agent's half of the direct path, one job of it.
 *
 * Over a SOCK_SEQPACKET channel that the client made (gpu_client_stream()):
 *
 *   client: head with the payload's descriptor, pieces (to be saved: with theirs)
 *   agent:  result, when all is copied; then (of what was loaded) the pieces with descriptors
 *   client: one byte: it is done with them
 *
 * The agent holds the memory until then. If the client ends without that word after it had memory saved, it was killed,
 * and the process may be without its memory: the agent gives it back.
 *
 * The payload is the pieces one behind the other, as they were named. Pages of zeros are holes in it.
 */
#ifndef GPU_GPU_STREAM_H
#define GPU_GPU_STREAM_H

#include "gpu/gpu_keep.h"
#include "gpu/gpu_pieces.h"
#include "gpu/gpu_pool.h"

struct gpu_stream_head {
	uint64_t n;      /* pieces */
	uint32_t n_pairs, zero;
	struct gpu_pair pair[GPU_MOST]; /* to be loaded: onto other GPUs */
	struct gpu_wish wish;           /* to be loaded: to be kept */
};

/* Where the bytes of a load came from, and what was kept of them. */
enum gpu_source { GPU_FROM_FILE, GPU_FROM_FILE_KEPT, GPU_FROM_KEPT };

struct gpu_stream_result {
	int32_t result;
	uint32_t source;    /* enum gpu_source */
	uint64_t bytes, ns; /* copied; what that took */
	uint64_t from_ns;   /* CLOCK_MONOTONIC, when it began; then, after that: */
	uint64_t made_ns, copied_ns; /* the memory was mapped in the agent; was copied */
	char text[256];     /* why not; or what there is to say of what is kept */
};

/* The agent's side. */
struct gpu_stream {
	const struct gpu_driver *driver;
	struct gpu_pools *pools;
	struct gpu_keep *keep;
	pid_t pid;
	bool load;
	int channel;
};
int gpu_stream_serve(const struct gpu_stream *s) must_check;

/* How it is to be loaded. */
struct gpu_load_how {
	const struct gpu_map *map;
	struct gpu_wish wish;
};

/* The client's side: the first two words (how NULL: save it), and the two answers: the channel polls readable then. */
int gpu_stream_begin(struct gpu_client *c, pid_t pid, const struct gpu_pieces *p, int payload_fd,
		     const struct gpu_load_how *how, int *ret_channel) must_check;
/* p: to be loaded: gets its descriptors. Gives up when the operation is to end (base/guard.h). */
int gpu_stream_wait(int channel, bool load, struct gpu_pieces *p, struct gpu_stream_result *ret) must_check;
/* The last word; when it comes back the agent has let go of the memory. */
void gpu_stream_end(int channel);
/*
 * The process maps the memory again, the agent lets go of it, and the process makes it its own. Once it is mapped, p
 * and the channel are gone (*channel -1); if only the last fails, a warning says so.
 */
int gpu_stream_put_back(pid_t pid, const char *comm, struct gpu_pieces *p, int *channel) must_check;

#endif
