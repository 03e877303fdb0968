/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the message does not hold itself: how long its payload is, and how deep it may nest.
 *
 * All lengths fit 64 bits: each is a sum of two 32-bit numbers, or one 64-bit
 * number that is only rounded when that cannot wrap.
 */
#include <string.h>

#include "img/img_type.h"

static uint64_t round_up(uint64_t len, uint64_t to)
{
	return len > UINT64_MAX - to ? len : (len + to - 1) / to * to;
}

static uint64_t ipc_shm_len(const IpcShmEntry *e)
{
	return e->has_in_pagemaps && e->in_pagemaps ? 0 : round_up(e->size, 4);
}

static uint64_t tcp_len(const TcpStreamEntry *e)
{
	return (uint64_t)e->inq_len + e->outq_len;
}

static uint64_t bpfmap_len(const BpfmapDataEntry *e)
{
	return (uint64_t)e->keys_bytes + e->values_bytes;
}

static uint64_t ghost_len(const ProtobufCMessage *msg)
{
	return msg->descriptor == &ghost_chunk_entry__descriptor ? ((const GhostChunkEntry *)msg)->len : 0;
}

static uint64_t ipc_msg_len(const ProtobufCMessage *msg)
{
	return msg->descriptor == &ipc_msg__descriptor ? round_up(((const IpcMsg *)msg)->msize, 8) : 0;
}

uint64_t img_payload_len(const struct img_type *t, const ProtobufCMessage *msg)
{
	switch (t->kind) {
	case IMG_KIND_GHOST:
		return ghost_len(msg);
	case IMG_KIND_PIPE:
		return ((const PipeDataEntry *)msg)->bytes;
	case IMG_KIND_PACKET:
		return ((const SkPacketEntry *)msg)->length;
	case IMG_KIND_TCP:
		return tcp_len((const TcpStreamEntry *)msg);
	case IMG_KIND_BPFMAP:
		return bpfmap_len((const BpfmapDataEntry *)msg);
	case IMG_KIND_IPC_SHM:
		return ipc_shm_len((const IpcShmEntry *)msg);
	case IMG_KIND_IPC_MSG:
		return ipc_msg_len(msg);
	case IMG_KIND_IPC_SEM:
		return round_up(2 * (uint64_t)((const IpcSemEntry *)msg)->nsems, 8);
	default:
		return 0;
	}
}
