/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets with descriptors, over a socket that keeps packets apart. A header, for the preloaded library has no other
 * code of thaw's and needs the same; so no libc beyond calls.
 */
#ifndef BASE_PACKET_H
#define BASE_PACKET_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PACKET_FDS = 64 }; /* as many as go with one */

union packet_room {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(PACKET_FDS * sizeof(int))];
};

/* Sends n descriptors (at most PACKET_FDS) along. False: errno says why not. */
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

static inline void packet_close(const int *fd, size_t n)
{
	while (n)
		close(fd[--n]);
}

/*
 * Receives one, with at most most descriptors; their number is told. Returns its length, as recvmsg() does, 0 or -1.
 * One that brings more descriptors is none: EPROTO, and they are closed.
 */
static inline ssize_t packet_take(int s, void *buf, size_t len, int flags, int *fd, size_t most, size_t *ret_n)
{
	union packet_room room;
	struct iovec iov = { buf, len };
	/* CMSG_LEN: in the padding that CMSG_SPACE adds one more would find room */
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &room,
			    .msg_controllen = CMSG_LEN(most * sizeof(int)) };
	const struct cmsghdr *c;
	ssize_t got;

	*ret_n = 0;
	do
		got = recvmsg(s, &m, MSG_CMSG_CLOEXEC | flags);
	while (got < 0 && errno == EINTR);
	c = got >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (most && c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		*ret_n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fd, CMSG_DATA(c), *ret_n * sizeof(int));
	}
	if (got < 0 || !(m.msg_flags & MSG_CTRUNC))
		return got;
	packet_close(fd, *ret_n);
	*ret_n = 0;
	errno = EPROTO;
	return -1;
}

#endif
