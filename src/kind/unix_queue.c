/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues of unix sockets, both ways (unix_queue.h). Runs in the engine.
 *
 * Packets are found by looking (unix_peek.h); nothing is consumed.
 */
#include "kind/unix_queue.h"

#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "kern/fdinfo.h"
#include "kind/sk.h"
#include "kind/unix_peek.h"

enum { FIRST_LEN = 256 << 10 };

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

static int dump_rights(struct dumping *d, struct unix_peeked *p, SkPacketEntry *e)
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

static int add_packet(struct dumping *d, struct unix_queue *q, const struct unix_peek *p, struct unix_peeked *k)
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

/* Returns 1 at the end of the queue. An empty message is no end, but looks like one where reading was shut down. */
static int dump_next(struct dumping *d, struct unix_queue *q, struct unix_peek *p, int total)
{
	struct unix_peeked k = { 0 };
	int r = unix_peek_next(p, &k);

	if (r <= 0)
		return r < 0 ? r : 1;
	if (!k.len && (p->stream || (q->type == SOCK_SEQPACKET && p->off >= (uint64_t)total)))
		return 1;
	r = add_packet(d, q, p, &k);
	unix_peeked_drop(&k);
	p->off += k.len;
	return r;
}

static int dump_all(struct dumping *d, struct unix_queue *q, struct unix_peek *p, int total)
{
	int r = 0;

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
	bool stream = q->type == SOCK_STREAM;
	struct unix_peek p;
	int total = 0, r, end;

	if (ioctl(q->fd, SIOCINQ, &total) < 0)
		return err_set(errno, "ask for the length of the queue");
	/* room for all of a stream: the first look shall see it whole */
	r = unix_peek_begin(&p, q->fd, stream, stream && total > FIRST_LEN ? (size_t)total : FIRST_LEN);
	if (!r)
		r = dump_all(d, q, &p, total);
	end = unix_peek_end(&p);
	return r < 0 ? r : end;
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
	if (n > UNIX_RIGHTS_MAX || e->length != m->payload_len)
		return err_say(EINVAL, "a queued packet of %u bytes with %zu descriptors", e->length, n);
	return 0;
}

static int add_rights(struct restoring *r, const SkPacketEntry *e, struct msghdr *msg)
{
	struct cmsghdr *c = msg->msg_control;
	int fds[UNIX_RIGHTS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < e->n_scm; i++)
		for (size_t k = 0; k < e->scm[i]->n_rights; k++) {
			if (n == UNIX_RIGHTS_MAX)
				return err_say(EINVAL, "too many descriptors in a queued packet");
			fds[n] = restoring_fd(r, e->scm[i]->rights[k]);
			if (fds[n++] < 0)
				return fds[n - 1];
		}
	if (!n)
		return 0;
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n * sizeof(int)),
			       .cmsg_level = SOL_SOCKET,
			       .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	msg->msg_controllen = CMSG_SPACE(n * sizeof(int));
	return 0;
}

int unix_queue_refill(struct restoring *r, int fd, const struct img_msg *m)
{
	_Alignas(struct cmsghdr) char control[UNIX_CONTROL_LEN] = { 0 };
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
