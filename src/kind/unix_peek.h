/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into the receive queue of a unix socket without taking anything out. */
#ifndef KIND_UNIX_PEEK_H
#define KIND_UNIX_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "base/err.h"

enum {
	UNIX_RIGHTS_MAX = 253,    /* SCM_MAX_FD */
	UNIX_CONTROL_LEN = 2048,  /* rights, credentials, a security label */
};

/* The look, from one packet to the next. */
struct unix_peek {
	int fd;
	bool stream;
	uint64_t off; /* bytes of the queue already seen */
	uint8_t *buf;
	size_t cap;
	bool looked, moved; /* the first look needs no SO_PEEK_OFF; moved: it is set */
};

/* One packet: a datagram, or bytes of a stream. Its bytes are in the look's buf. */
struct unix_peeked {
	size_t len;
	int fds[UNIX_RIGHTS_MAX];
	size_t nfds;
	uint8_t name[sizeof(struct sockaddr_un)];
	size_t name_len;
};

int unix_peek_begin(struct unix_peek *p, int fd, bool stream, size_t len) must_check;
/* The next packet, complete; p->off is its place. Returns 1, or 0 at the end of the queue. */
int unix_peek_next(struct unix_peek *p, struct unix_peeked *ret) must_check;
/* Closes the descriptors that came with it. */
void unix_peeked_drop(struct unix_peeked *p);
/* Puts the socket's peek offset back. */
int unix_peek_end(struct unix_peek *p) must_check;

#endif
