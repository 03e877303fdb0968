/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking into a queue (unix_peek.h). Runs in the engine.
 *
 * It is read with MSG_PEEK, and SO_PEEK_OFF moves the look forward: nothing is
 * consumed. The peek offset belongs to the socket, so it is put back (to -1: other values are
 * refused, see sk_lost_check()). The first look, which sees all of a plain stream, needs no offset.
 *
 * A stream has no borders except where descriptors ride: one look reads over
 * the border before such a piece, but a program that reads short of it must not get
 * the descriptors early. Shorter looks do not show the border (the kernel goes on to the
 * next piece even when there is no room left, and gives out its descriptors). A look whose last byte cannot
 * be written does: pieces are copied whole or not at all, so it returns what lies before the last piece.
 */
#include "kind/unix_peek.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKET_MAX = 1 << 30 };

void unix_peeked_drop(struct unix_peeked *p)
{
	while (p->nfds)
		close(p->fds[--p->nfds]);
}

static void take_control(struct msghdr *msg, struct unix_peeked *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > UNIX_RIGHTS_MAX - ret->nfds)
			continue;
		memcpy(ret->fds + ret->nfds, CMSG_DATA(c), n * sizeof(int));
		ret->nfds += n;
	}
}

static int move(struct unix_peek *p)
{
	int off = (int)p->off;

	if (p->off > INT_MAX)
		return err_say(ENOTSUP, "a queue of more than %d bytes is not supported yet", INT_MAX);
	p->moved = true;
	if (setsockopt(p->fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)) < 0)
		return err_set(errno, "set SO_PEEK_OFF");
	return 0;
}

/*
 * One look of up to `want` bytes at p->off. Returns 1, or 0 at the end of the queue.
 * With a hole the last byte of them has nowhere to go; *ret has no bytes if it is of the first piece.
 */
static int peek_once(struct unix_peek *p, size_t want, bool hole, struct unix_peeked *ret)
{
	_Alignas(struct cmsghdr) char control[UNIX_CONTROL_LEN];
	struct sockaddr_un from;
	struct iovec iov[2] = { { p->buf, hole ? want - 1 : want }, { NULL, 1 } };
	struct msghdr msg = { .msg_name = &from,
			      .msg_namelen = sizeof(from),
			      .msg_iov = iov,
			      .msg_iovlen = hole ? 2 : 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int r = p->looked ? move(p) : 0;
	ssize_t n;

	ret->nfds = 0;
	if (r < 0)
		return r;
	p->looked = true;
	n = recvmsg(p->fd, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (p->stream ? 0 : MSG_TRUNC));
	if (n < 0 && hole && errno == EFAULT)
		return ret->len = 0, 1;
	if (n < 0)
		return errno == EAGAIN ? 0 : err_set(errno, "look into the queue");
	take_control(&msg, ret);
	if (msg.msg_flags & MSG_CTRUNC)
		return unix_peeked_drop(ret), err_say(EMFILE, "the descriptors in the queue cannot be taken");
	ret->len = (size_t)n;
	ret->name_len = msg.msg_namelen > sizeof(sa_family_t) ? msg.msg_namelen - sizeof(sa_family_t) : 0;
	memcpy(ret->name, from.sun_path, ret->name_len < sizeof(from.sun_path) ? ret->name_len : sizeof(from.sun_path));
	return 1;
}

static int grow(struct unix_peek *p, size_t len)
{
	void *buf;

	if (len > PACKET_MAX)
		return err_say(ENOTSUP, "a message of %zu bytes is not supported yet", len);
	buf = realloc(p->buf, len);
	if (!buf)
		return err_set(ENOMEM, "%zu bytes of a queue", len);
	p->buf = buf;
	p->cap = len;
	return 0;
}

/* In a stream: makes *ret end before the piece with descriptors, or be that piece alone. */
static int find_border(struct unix_peek *p, struct unix_peeked *ret)
{
	size_t border;
	int r;

	unix_peeked_drop(ret);
	r = peek_once(p, ret->len, true, ret);
	border = ret->len;
	unix_peeked_drop(ret);
	if (r > 0)
		r = peek_once(p, border ? border : p->cap, false, ret);
	if (r > 0 && border)
		unix_peeked_drop(ret); /* of the next piece */
	return r;
}

int unix_peek_next(struct unix_peek *p, struct unix_peeked *ret)
{
	int r = peek_once(p, p->cap, false, ret);

	if (r > 0 && ret->len > p->cap) {
		unix_peeked_drop(ret);
		r = grow(p, ret->len);
		if (!r)
			r = peek_once(p, p->cap, false, ret);
	}
	if (r > 0 && p->stream && ret->nfds && ret->len > 1)
		r = find_border(p, ret);
	return r;
}

int unix_peek_begin(struct unix_peek *p, int fd, bool stream, size_t len)
{
	*p = (struct unix_peek){ .fd = fd, .stream = stream };
	return grow(p, len);
}

int unix_peek_end(struct unix_peek *p)
{
	int off = -1;

	free(p->buf);
	p->buf = NULL;
	if (p->moved && setsockopt(p->fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)) < 0)
		return err_set(errno, "put SO_PEEK_OFF back");
	return 0;
}
