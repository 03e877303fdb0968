/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel tells about sockets through NETLINK_SOCK_DIAG.
 *
 * Each family is dumped once, when its first socket is asked for, and hashed by
 * inode. Sockets that are neither bound nor connected are not in the kernel's tables
 * (except unix ones): the answer is NULL then, and getsockopt() on a fetched
 * descriptor has to tell the rest. Rows live in the arena.
 */
#ifndef KERN_SOCKDIAG_H
#define KERN_SOCKDIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct sockdiag;

struct sockdiag_unix {
	uint32_t ino, peer; /* peer 0: none (any more) */
	uint8_t type;       /* SOCK_STREAM... */
	uint8_t state;      /* TCP_ESTABLISHED, TCP_LISTEN, TCP_CLOSE (neither) */
	uint8_t shutdown;   /* 1: receiving, 2: sending is shut down */
	uint32_t uid;
	uint8_t *name; /* sun_path: abstract ones start with NUL, any byte may follow; not NUL-terminated as such */
	size_t name_len; /* 0: unnamed */
	uint32_t *pending; /* of listening sockets: inodes of the peers that wait for accept() */
	size_t n_pending;
	uint32_t rqlen, wqlen; /* bytes queued; of listening sockets: connections waiting, backlog */
	bool has_vfs;
	uint32_t vfs_ino, vfs_dev; /* of the socket file; kernel dev_t: major << 20 | minor */
};

struct sockdiag_inet {
	uint32_t ino;
	uint8_t family, proto, state; /* AF_INET or AF_INET6; IPPROTO_*; TCP_* */
	uint8_t shutdown;
	uint16_t src_port, dst_port;  /* host order */
	uint8_t src[16], dst[16];     /* network order; 4 bytes for AF_INET */
	uint32_t ifindex, uid;
	uint32_t rqueue, wqueue; /* bytes; of listening sockets: connections waiting, backlog */
	bool v6only;
};

struct sockdiag_netlink {
	uint32_t ino;
	uint8_t proto, state;
	uint32_t portid, dst_portid, dst_group;
};

struct sockdiag_packet {
	uint32_t ino;
	uint16_t type, proto; /* SOCK_RAW..., ETH_P_* in host order */
	uint32_t ifindex;
};

/* Of our own network namespace. NULL with a trail if the kernel cannot be asked. */
struct sockdiag *sockdiag_new(struct arena *a);
void sockdiag_free(struct sockdiag *sd);

/* 0 and *ret_row (NULL: not in the kernel's table), or -errno with a trail. */
int sockdiag_unix(struct sockdiag *sd, uint32_t ino, const struct sockdiag_unix **ret_row) must_check;
/*
 * family AF_INET or AF_INET6; proto IPPROTO_TCP, _UDP, _UDPLITE, _RAW, ... A protocol that cannot be
 * asked has no rows.
 */
int sockdiag_inet(struct sockdiag *sd, int family, int proto, uint32_t ino,
		  const struct sockdiag_inet **ret_row) must_check;
int sockdiag_netlink(struct sockdiag *sd, uint32_t ino, const struct sockdiag_netlink **ret_row) must_check;
int sockdiag_packet(struct sockdiag *sd, uint32_t ino, const struct sockdiag_packet **ret_row) must_check;

#endif
