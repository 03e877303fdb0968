/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What client and agent say to each other: one packet a request, one packet an answer, over a SOCK_SEQPACKET socket.
 *
 * Both ends are the same program on the same machine, so packets are plain structs; GPU_WIRE_HELLO tells
 * when a new thaw meets an agent that an older one left running.
 */
#ifndef GPU_GPU_WIRE_H
#define GPU_GPU_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/gpu_client.h"

enum { GPU_WIRE_VERSION = 0x74670006, GPU_WIRE_TEXT = 48 << 10 };

enum gpu_op {
	GPU_OP_HELLO,      /* is anybody there, and of my version */
	GPU_OP_STATUS,     /* text: JSON */
	GPU_OP_MAP,        /* are the GPUs that take over here */
	GPU_OP_LENDS,      /* value: whether the driver lends memory (gpu_lent.h) */
	GPU_OP_DROP,       /* give up what is kept; value: MiB */
	GPU_OP_STATE,      /* this and what follows works on a process; value: enum gpu_state */
	GPU_OP_TID,        /* value: the restore thread */
	GPU_OP_SPARE,      /* text: gpu_spare.h */
	GPU_OP_SAVE,       /* with a descriptor: gpu_stream.h */
	GPU_OP_LOAD,       /* the same; pid: the caller's own */
	GPU_OP_STEP,       /* GPU_OP_STEP + enum gpu_step; with a descriptor: gpu_lent.h */
	GPU_OP_END = GPU_OP_STEP + GPU_UNLOCK + 1,
};

struct gpu_request {
	uint32_t version, op, ticket, timeout_ms;
	int32_t pid;
	uint32_t n_pairs, doomed; /* doomed: as in gpu_lent.h */
	struct gpu_pair pair[GPU_MOST]; /* only n_pairs of them are sent */
};

struct gpu_reply {
	uint32_t version, ticket;
	int32_t result, value; /* result: 0 or -errno, with a sentence in text */
	uint64_t ns;           /* what the driver took */
	char text[];           /* up to the packet's end, without NUL */
};

static inline size_t gpu_request_len(const struct gpu_request *q)
{
	return offsetof(struct gpu_request, pair) + q->n_pairs * sizeof(q->pair[0]);
}

#endif
