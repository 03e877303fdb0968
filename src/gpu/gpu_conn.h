/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's connections: who they are, and what they may ask.
 *
 * A caller is root or has the agent's own uid; and only root may have others' processes worked on. The
 * kernel tells who calls, nothing of that is taken from the packets.
 */
#ifndef GPU_GPU_CONN_H
#define GPU_GPU_CONN_H

#include <stdbool.h>

#include "gpu/gpu_wire.h"

struct gpu_conn {
	struct gpu_conn *next;
	uint64_t id; /* never used again, so that a late answer does not reach somebody else */
	int fd;
	uid_t uid;
	pid_t pid;
	bool foreign_pids; /* its numbers of processes are not ours */
};

struct gpu_conns {
	struct gpu_conn *first;
	size_t n;
	uint64_t last_id;
};

/* Takes in whoever is next in the queue. One that may not call is told so in answer to its first request. */
void gpu_conn_accept(struct gpu_conns *conns, int listen_fd);
void gpu_conn_drop(struct gpu_conns *conns, struct gpu_conn *conn);
struct gpu_conn *gpu_conn_find(const struct gpu_conns *conns, uint64_t id);

/* *ret_fd: a descriptor that came along, which is the caller's then; -1: none. */
/* 1: a request that is well-formed and allowed; 0: nothing there; -EPIPE: gone; other: refused with a trail. */
int gpu_conn_request(const struct gpu_conn *conn, struct gpu_request *ret, int *ret_fd) must_check;
/* result < 0: text is its sentence. A client that does not read its answers loses them. */
void gpu_conn_reply(const struct gpu_conn *conn, const struct gpu_reply *head, const char *text);

#endif
