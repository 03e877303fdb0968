/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What thaw says to the preloaded library of a CUDA process.
 *
 * The library maps a memfd named ASK_NAME: so the process is recognised in /proc/PID/maps, and at the mapping's start
 * stands struct ask_door. One end of a socket pair is the library's; a copy of the other, which thaw takes with
 * pidfd_getfd(), is the way in. There is no name in any namespace, and the permission is the one to trace the process.
 *
 * Through the door goes a SOCK_SEQPACKET descriptor, and over that the session: a packet a request, a packet an answer.
 * A session that ends (its other end may have been killed) opens a gate that is closed while nothing is away.
 * Nothing of a session is left in the process afterwards: it can be dumped.
 */
#ifndef PRELOAD_ASK_H
#define PRELOAD_ASK_H

#include <stdint.h>

#define ASK_NAME "thaw-cuda"
enum { ASK_MAGIC = 0x74686177, ASK_VERSION = 1, ASK_PIECES = 64, ASK_TEXT = 160 };

struct ask_door {
	uint32_t magic, version;
	int32_t fd;    /* of thaw's end, in the process; -1: shut */
	uint32_t zero;
};

enum ask_op {
	ASK_CLOSE,   /* close the gate, wait for the GPU; the answer is followed by all pieces and their descriptors */
	ASK_RELEASE, /* let go of the pieces: only their addresses stay */
	ASK_RETURN,  /* followed by as many pieces and descriptors: map those that are away; the gate stays closed */
	ASK_OWN,     /* nobody else holds the memory any more: make it the process's own, open the gate */
};

struct ask_request {
	uint32_t op, timeout_ms;
	uint64_t n; /* ASK_RETURN: pieces to come */
};

struct ask_answer {
	int32_t result; /* 0 or -errno */
	uint32_t zero;
	uint64_t n;     /* ASK_CLOSE: pieces to come */
	char text[ASK_TEXT]; /* why not */
};

/* Physical memory at its address; up to ASK_PIECES go in one packet, with a descriptor each. */
struct ask_piece {
	uint64_t va, len;
	uint8_t gpu[16]; /* UUID */
};

#endif
