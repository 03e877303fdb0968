/* SPDX-License-Identifier: Apache-2.0 */
/* The unix sockets of the tree while they are being dumped: filled by fd_unix.c, settled by unix_peers.c. */
#ifndef KIND_UNIX_PEERS_H
#define KIND_UNIX_PEERS_H

#include "kern/sockdiag.h"
#include "kind/unix_queue.h"

/* A socket of the tree. */
struct unix_sock {
	UnixSkEntry *e;
	const struct sockdiag_unix *row;
	int32_t pid, tfd;         /* where it was found, for sentences */
	struct unix_queue *queue; /* NULL: empty */
	bool waits;               /* in the queue of a listener */
};

struct unix_dump {
	struct unix_sock **v; /* by inode, once finish() has sorted them */
	size_t n;
	FileEntry **externs;
	size_t nexterns;
};

/* All are known: saves their queues, sets peer, backlog and ns_id, refuses what is connected to the outside. */
int unix_peers_settle(struct dumping *d, struct unix_dump *u) must_check;

#endif
