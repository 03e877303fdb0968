/* SPDX-License-Identifier: Apache-2.0 */
/* The unix sockets of an image while they are being restored: shared by unix_set.c, unix_open.c and unix_link.c. */
#ifndef KIND_UNIX_MEMBER_H
#define KIND_UNIX_MEMBER_H

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "kind/unix_name.h"
#include "kind/unix_set.h"

struct unix_member {
	const UnixSkEntry *e;
	struct unix_member *peer;
	bool mutual;                   /* the peer names this one, too */
	int fd;
	int tmp;                       /* the end of a pair that is gone, until the queue is filled */
	bool owned;                    /* fd is still ours to close */
	bool unlinked, tied;
	const struct img_msg **packets;
	size_t npackets;
	struct unix_member *connector; /* one of those that connect to it one-way */
	size_t nconnectors, nwaiting;  /* all of them; those not connected yet */
};

struct unix_set {
	struct unix_member **v; /* by inode */
	size_t n;
	struct unix_member **listeners;
	size_t nlisteners;
	bool opened, linked;
};

static inline bool unix_is_extern(const struct unix_member *s)
{
	return s->e->uflags & UNIX_EXTERN;
}

/* An end of a stream or seqpacket connection, as opposed to a socket that can be made alone. */
static inline bool unix_is_connection(const struct unix_member *s)
{
	return s->e->type != SOCK_DGRAM && s->e->state == TCP_ESTABLISHED;
}

static inline bool unix_is_waiting(const struct unix_member *s)
{
	return unix_is_connection(s) && s->peer && s->peer->e->state == TCP_LISTEN;
}

/* Prefixes the socket's inode and name when r < 0. */
int unix_in_member(int r, const struct unix_member *s);

/* A fresh socket of the same type. Returns the descriptor. */
int unix_make(const struct unix_member *s) must_check;

/* Makes all of them; their descriptors wait in fd until the engine asks for them. */
int unix_open_all(struct restoring *r, struct unix_set *u) must_check;
/* All descriptors are at their places: connects, fills, sets. */
int unix_link_all(struct restoring *r, struct unix_set *u) must_check;

#endif
