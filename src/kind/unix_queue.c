/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of unix sockets, both ways (unix_queue.h). Runs in the engine.
 *
 * They are read with MSG_PEEK, and SO_PEEK_OFF moves the look forward: nothing is
 * consumed. The peek offset belongs to the socket, so it is put back (to -1: other values are
 * refused, see sk_lost_check()). The first look, which sees all of a plain stream, needs no offset.
 *
 * A stream has no borders except where descriptors ride: one look reads over
 * the border before such a piece, but a program that reads short of it must not get
 * the descriptors early. Shorter looks do not show the border (the kernel goes on to the
 * next piece even when there is no room left, and gives out its descriptors). A look whose last byte cannot
 * be written does: pieces are copied whole or not at all, so it returns what lies before the last piece.
 */
#include "kind/unix_queue.h"

#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "kern/fdinfo.h"
#include "kind/sk.h"

enum {
	RIGHTS_MAX = 253,                 /* SCM_MAX_FD */
	CONTROL_LEN = 2048,               /* rights, credentials, a security label */
	FIRST_LEN = 256 << 10,
	PACKET_MAX = 1 << 30,
};

struct peek {
	int fd;
	bool stream;
	uint64_t off; /* bytes of the queue already seen */
	uint8_t *buf;
	size_t cap;
	bool looked, moved; /* the first look needs no SO_PEEK_OFF; moved: it is set */
};

struct peeked {
	size_t len;
	int fds[RIGHTS_MAX];
	size_t nfds;
	uint8_t name[sizeof(struct sockaddr_un)];
	size_t name_len;
};

static void drop_fds(struct peeked *p)
{
	while (p->nfds)
		close(p->fds[--p->nfds]);
}

static void take_control(struct msghdr *msg, struct peeked *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n > RIGHTS_MAX - ret->nfds)
			continue;
		memcpy(ret->fds + ret->nfds, CMSG_DATA(c), n * sizeof(int));
		ret->nfds += n;
	}
}

static int move(struct peek *p)
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
static int peek_once(struct peek *p, size_t want, bool hole, struct peeked *ret)
{
	_Alignas(struct cmsghdr) char control[CONTROL_LEN];
	struct sockaddr_un from;
	struct iovec iov[2] = { { p->buf, hole ? want - 1 : want }, { NULL, 1 } };
	struct msghdr msg = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = iov, .msg_iovlen = hole ? 2 : 1,
			      .msg_control = control, .msg_controllen = sizeof(control) };
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
		return drop_fds(ret), err_say(EMFILE, "the descriptors in the queue cannot be taken");
	ret->len = (size_t)n;
	ret->name_len = msg.msg_namelen > sizeof(sa_family_t) ? msg.msg_namelen - sizeof(sa_family_t) : 0;
	memcpy(ret->name, from.sun_path, ret->name_len < sizeof(from.sun_path) ? ret->name_len : sizeof(from.sun_path));
	return 1;
}

static int grow(struct peek *p, size_t len)
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
static int find_border(struct peek *p, struct peeked *ret)
{
	size_t border;
	int r;

	drop_fds(ret);
	r = peek_once(p, ret->len, true, ret);
	border = ret->len;
	drop_fds(ret);
	if (r > 0)
		r = peek_once(p, border ? border : p->cap, false, ret);
	if (r > 0 && border)
		drop_fds(ret); /* of the next piece */
	return r;
}

/* The next packet, complete. */
static int peek_next(struct peek *p, struct peeked *ret)
{
	int r = peek_once(p, p->cap, false, ret);

	if (r > 0 && ret->len > p->cap) {
		drop_fds(ret);
		r = grow(p, ret->len);
		if (!r)
			r = peek_once(p, p->cap, false, ret);
	}
	if (r > 0 && p->stream && ret->nfds && ret->len > 1)
		r = find_border(p, ret);
	return r;
}

/* ---- descriptors in flight ------------------------------------------------------------------- */

/*
 * A descriptor in a queue is seen as one of our own table, and so compared with
 * those of the tasks: it may be the same description as one of theirs. It stays open until
 * thaw ends, since others that turn up later are compared with it.
 */
static int dump_right(struct dumping *d, int fd, uint32_t *ret_id)
{
	struct fd_facts f = { .pid = getpid(), .tfd = fd, .fd = fd };
	auto_close int proc_fd = proc_open(f.pid);
	struct fdinfo info;
	struct statfs fs;
	char *link;
	int r = proc_fd;

	if (r >= 0)
		r = fdinfo_read(proc_fd, fd, d->a, &info);
	if (r >= 0)
		r = fdinfo_link(proc_fd, fd, d->a, &link);
	if (r < 0)
		return r;
	if (fstat(fd, &f.st) < 0)
		return err_set(errno, "fstat");
	f.link = link;
	f.fdinfo = info.rest;
	f.flags = info.flags;
	f.pos = info.pos;
	f.mnt_id = (int32_t)info.mnt_id;
	f.fs_magic = fstatfs(fd, &fs) == 0 ? (long)fs.f_type : 0;
	return dumping_file(d, &f, ret_id);
}

static int dump_rights(struct dumping *d, struct peeked *p, SkPacketEntry *e)
{
	ScmEntry *scm = arena_msg(d->a, scm_entry, ScmEntry);

	scm->type = SCM_RIGHTS;
	scm->rights = arena_alloc(d->a, p->nfds * sizeof(*scm->rights));
	for (; scm->n_rights < p->nfds; scm->n_rights++) {
		int r = dump_right(d, p->fds[scm->n_rights], &scm->rights[scm->n_rights]);

		if (r < 0)
			return err_ctx(r, "a descriptor in flight");
	}
	p->nfds = 0; /* kept, see dump_right() */
	arena_add(d->a, &e->scm, &e->n_scm, scm);
	return 0;
}

/* ---- dump ------------------------------------------------------------------------------------ */

static int add_packet(struct dumping *d, struct unix_queue *q, const struct peek *p, struct peeked *k)
{
	SkPacketEntry *e = arena_msg(d->a, sk_packet_entry, SkPacketEntry);
	struct unix_sender *last = q->nsenders ? q->senders[q->nsenders - 1] : NULL;
	int r;

	e->id_for = q->file_id;
	e->length = (uint32_t)k->len;
	if (!p->stream && (!last || last->len != k->name_len || memcmp(last->name, k->name, k->name_len) != 0)) {
		last = arena_alloc(d->a, sizeof(*last));
		last->len = k->name_len;
		last->name = arena_memdup(d->a, k->name, k->name_len);
		arena_add(d->a, &q->senders, &q->nsenders, last);
	}
	r = k->nfds ? dump_rights(d, k, e) : 0;
	if (r < 0)
		return r;
	snap_add_payload(d->snap, IMG_SK_QUEUES, &e->base, arena_memdup(d->a, p->buf, k->len), k->len);
	return 0;
}

/* Returns 1 when the queue is at its end. An empty message is no end, but looks like one where reading was shut down. */
static int dump_next(struct dumping *d, struct unix_queue *q, struct peek *p, int total)
{
	struct peeked k = { 0 };
	int r = peek_next(p, &k);

	if (r <= 0)
		return r < 0 ? r : 1;
	if (!k.len && (p->stream || (q->type == SOCK_SEQPACKET && p->off >= (uint64_t)total)))
		return 1;
	r = add_packet(d, q, p, &k);
	drop_fds(&k);
	p->off += k.len;
	return r;
}

static int dump_all(struct dumping *d, struct unix_queue *q, struct peek *p)
{
	int total = 0, r = 0;

	if (ioctl(q->fd, SIOCINQ, &total) < 0)
		return err_set(errno, "ask for the length of the queue");
	if (p->stream && (size_t)total > p->cap)
		r = grow(p, (size_t)total);
	while (!r)
		r = dump_next(d, q, p, total);
	if (r < 0)
		return r;
	/* bytes sent with MSG_OOB are counted, but not seen */
	if (q->type != SOCK_DGRAM && p->off != (uint64_t)total)
		return err_say(ENOTSUP, "urgent data in a unix socket's queue is not supported yet");
	return 0;
}

bool unix_queue_any(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	/* the end of the input looks the same and does no harm */
	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

int unix_queue_dump(struct dumping *d, struct unix_queue *q)
{
	struct peek p = { .fd = q->fd, .stream = q->type == SOCK_STREAM };
	int off = -1, r;

	r = grow(&p, FIRST_LEN);
	if (!r)
		r = dump_all(d, q, &p);
	free(p.buf);
	if (p.moved && setsockopt(q->fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)) < 0 && !r)
		r = err_set(errno, "put SO_PEEK_OFF back");
	return r;
}

/* ---- restore --------------------------------------------------------------------------------- */

int unix_queue_check(const struct img_msg *m)
{
	const SkPacketEntry *e = (const SkPacketEntry *)m->msg;
	size_t n = 0;

	for (size_t i = 0; i < e->n_scm; i++) {
		n += e->scm[i]->n_rights;
		if (e->scm[i]->type != SCM_RIGHTS)
			return err_say(ENOTSUP, "control data of type %u in a queue is not supported yet", e->scm[i]->type);
	}
	if (n > RIGHTS_MAX || e->length != m->payload_len)
		return err_say(EINVAL, "a queued packet of %u bytes with %zu descriptors", e->length, n);
	return 0;
}

static int add_rights(struct restoring *r, const SkPacketEntry *e, struct msghdr *msg)
{
	struct cmsghdr *c = msg->msg_control;
	int fds[RIGHTS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < e->n_scm; i++)
		for (size_t k = 0; k < e->scm[i]->n_rights; k++) {
			if (n == RIGHTS_MAX)
				return err_say(EINVAL, "too many descriptors in a queued packet");
			fds[n] = restoring_fd(r, e->scm[i]->rights[k]);
			if (fds[n++] < 0)
				return fds[n - 1];
		}
	if (!n)
		return 0;
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	msg->msg_controllen = CMSG_SPACE(n * sizeof(int));
	return 0;
}

int unix_queue_refill(struct restoring *r, int fd, const struct img_msg *m)
{
	_Alignas(struct cmsghdr) char control[CONTROL_LEN] = { 0 };
	const SkPacketEntry *e = (const SkPacketEntry *)m->msg;
	struct iovec iov = { (void *)(uintptr_t)m->payload, m->payload_len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	int err = add_rights(r, e, &msg);

	if (err < 0)
		return err;
	if (!msg.msg_controllen)
		msg.msg_control = NULL;
	do {
		ssize_t n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN ?
			       err_say(EAGAIN, "the queue does not take all messages: is net.unix.max_dgram_qlen smaller here?") :
			       err_set(errno, "refill the queue");
		iov.iov_base = (uint8_t *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	} while (iov.iov_len);
	return 0;
}
