/* SPDX-License-Identifier: Apache-2.0 */
/* What waits in the receive queue of a unix socket: bytes or messages, and descriptors in flight. */
#ifndef KIND_UNIX_QUEUE_H
#define KIND_UNIX_QUEUE_H

#include "kind/kind.h"

/* The name that a queued datagram came from. */
struct unix_sender {
	const uint8_t *name;
	size_t len; /* 0: unnamed */
};

/* A socket whose queue is to be saved. Names that datagrams came from are collected in senders, each once in a row. */
struct unix_queue {
	int fd;
	uint32_t file_id;
	int type;
	struct unix_sender **senders;
	size_t nsenders;
};

/* Anything to save? Nothing is taken from the queue. */
bool unix_queue_any(int fd);
/* Adds the packets to sk-queues. Descriptors in flight become file entries. */
int unix_queue_dump(struct dumping *d, struct unix_queue *q) must_check;

/* Writes one packet into fd, from where it reaches the queue it was found in. */
int unix_queue_refill(struct restoring *r, int fd, const struct img_msg *m) must_check;
int unix_queue_check(const struct img_msg *m) must_check;

#endif
