/* SPDX-License-Identifier: Apache-2.0 */
/* Packets with descriptors, as ask.h wants them: for both of its ends, the library and thaw. No libc beyond calls. */
#ifndef PRELOAD_PACKET_H
#define PRELOAD_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "preload/ask.h"

union packet_room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(ASK_PIECES * sizeof(int))];
};

/* Sends n descriptors (at most ASK_PIECES) along. False: errno says why not. */
static inline bool packet_give(int s, const void *buf, size_t len, const int *fd, size_t n)
{
	union packet_room room = { .bytes = "" };
	struct iovec iov = { (void *)buf, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		room.align = (struct cmsghdr){ CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&room.align), fd, n * sizeof(int));
		m.msg_control = &room;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	return sendmsg(s, &m, MSG_NOSIGNAL) == (ssize_t)len;
}

/* The descriptors of a message that came with a packet_room; their number. */
static inline size_t packet_fds(struct msghdr *m, int fd[ASK_PIECES])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	size_t n = 0;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (n)
		memcpy(fd, CMSG_DATA(c), n * sizeof(int));
	return n;
}

#endif
