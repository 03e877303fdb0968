/* SPDX-License-Identifier: Apache-2.0 */
/* The families' requests and answers on the wire of NETLINK_SOCK_DIAG. Only sockdiag.c uses this. */
#ifndef KERN_SOCKDIAG_ROWS_H
#define KERN_SOCKDIAG_ROWS_H

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/unix_diag.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* What is asked, with room for any family's. */
struct sockdiag_request {
	union {
		struct unix_diag_req unix_req;
		struct netlink_diag_req netlink;
		struct packet_diag_req packet;
		struct inet_diag_req_v2 inet;
	};
};

/* Makes the family's request: all sockets, or (AF_UNIX only) the one of inode ino. Returns its length. */
size_t sockdiag_request(struct sockdiag_request *q, uint8_t family, uint8_t proto, uint32_t ino);
/* Bytes that an answer of the family has at least. */
size_t sockdiag_row_min(uint8_t family);
/* A struct sockdiag_* made of the answer, and its inode. */
void *sockdiag_row(const struct nlmsghdr *nlh, uint8_t family, uint8_t proto, struct arena *a, uint32_t *ret_ino);

#endif
