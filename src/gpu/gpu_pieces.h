/* SPDX-License-Identifier: Apache-2.0 */
/* Physical GPU memory of one process: where it is mapped there, on which GPU, and a descriptor that keeps it alive. */
#ifndef GPU_GPU_PIECES_H
#define GPU_GPU_PIECES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gpu/gpu_client.h"

enum { GPU_PAGE = 2 << 20, GPU_PIECES_MOST = 65536 };

struct gpu_piece {
	uint64_t va, len; /* len: whole GPU_PAGEs */
	uint8_t gpu[GPU_UUID_LEN];
	int fd;           /* -1: none */
};

struct gpu_pieces {
	struct gpu_piece *v;
	size_t n;
	uint64_t bytes;
};

/* n pieces without anything. */
int gpu_pieces_make(struct gpu_pieces *p, size_t n) must_check;
/* Are they what a process can have? Fills in bytes. */
int gpu_pieces_check(struct gpu_pieces *p) must_check;
/* Closes what is open. */
void gpu_pieces_free(struct gpu_pieces *p);

/* Over a SOCK_SEQPACKET socket, in packets of rows with their descriptors; -EPIPE when the other end is gone. */
int gpu_pieces_send(int sock, const struct gpu_pieces *p) must_check;
/* Receives p->n of them. with_fds: each must come with a descriptor. */
int gpu_pieces_receive(int sock, struct gpu_pieces *p, bool with_fds) must_check;

/* One packet with one descriptor, or -1 for none. */
int gpu_pieces_send_fd(int sock, const void *buf, size_t len, int fd) must_check;

#endif
