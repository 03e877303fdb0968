/* SPDX-License-Identifier: Apache-2.0 */
/* The families' requests and answers on the wire of NETLINK_SOCK_DIAG. Only sockdiag.c uses this. */
#ifndef KERN_SOCKDIAG_ROWS_H
#define KERN_SOCKDIAG_ROWS_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* Appends the family's request to nlh: all sockets, or (AF_UNIX only) the one of inode ino. */
void sockdiag_request(struct nlmsghdr *nlh, uint8_t family, uint8_t proto, uint32_t ino);
/* Bytes that an answer of the family has at least. */
size_t sockdiag_row_min(uint8_t family);
/* A struct sockdiag_* made of the answer, and its inode. */
void *sockdiag_row(const struct nlmsghdr *nlh, uint8_t family, uint8_t proto, struct arena *a, uint32_t *ret_ino);

#endif
