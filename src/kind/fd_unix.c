/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets: streams, datagrams, seqpackets. Runs in the engine.
 *
 * Dump sees them one by one, in dump(); who is connected to whom is settled in
 * finish(), when all are known. `peer` of an entry is the inode of the other end:
 *
 *   both name each other            a pair (socketpair, or connect and accept)
 *   one names a listening socket    connected to it, not accepted yet. The kernel gives such a socket no peer;
 *                                   the listener's list of waiting ones says it. `backlog`, which means nothing for
 *                                   it otherwise, holds its place in that list, from 1
 *   a datagram socket names one     connected, one way
 *   0, in state ESTABLISHED         the other end is gone
 *   one flagged EXTERN              outside the tree (--ext-unix-sk); an entry without a descriptor holds its name
 *
 * Restore makes all of them together: unix_set.c.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kind/description.h"
#include "kind/registry.h"
#include "kind/sk.h"
#include "kind/unix_name.h"
#include "kind/unix_queue.h"
#include "kind/unix_set.h"

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

static bool unix_match(const struct fd_facts *f)
{
	return sk_family(f) == AF_UNIX;
}

/* ---- dump: one socket ------------------------------------------------------------------------ */

static void close_queue(void *arg)
{
	struct unix_queue *q = arg;

	if (q->fd >= 0)
		close(q->fd);
	q->fd = -1;
}

/* Looked into later: what is in flight in it may refer to any file of the tree. */
static int keep_queue(struct dumping *d, const struct fd_facts *f, struct unix_sock *s)
{
	struct unix_queue *q;

	if (s->e->state == TCP_LISTEN || !unix_queue_any(f->fd))
		return 0;
	q = arena_alloc(d->a, sizeof(*q));
	q->file_id = s->e->id;
	q->type = (int)s->e->type;
	q->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
	if (q->fd < 0)
		return err_set(errno, "keep a socket for its queue");
	dumping_undo(d, close_queue, q);
	s->queue = q;
	return 0;
}

static int dump_facts(struct dumping *d, const struct fd_facts *f, struct unix_sock *s)
{
	UnixSkEntry *e = s->e;
	int r = sk_same_netns(d, f->fd);

	if (!r)
		r = sockdiag_unix(sk_dump_get(d)->sd, e->ino, &s->row);
	if (!r && !s->row)
		r = err_say(ENOENT, "unix socket %u is not in the kernel's table", e->ino);
	if (!r)
		r = sk_lost_check(f->fd, AF_UNIX, 0);
	if (r < 0)
		return r;
	e->type = s->row->type;
	e->state = s->row->state;
	e->backlog = e->state == TCP_LISTEN ? s->row->wqlen : 0;
	e->has_shutdown = s->row->shutdown != 0;
	e->shutdown = (SkShutdown)(s->row->shutdown & SK_SHUTDOWN__BOTH);
	return unix_name_dump(d, f, s->row->name, s->row->name_len, e);
}

static struct unix_dump *state(struct dumping *d)
{
	struct sk_dump *k = sk_dump_get(d);

	if (k && !k->unix_)
		k->unix_ = arena_alloc(d->a, sizeof(*k->unix_));
	return k ? k->unix_ : NULL;
}

static int unix_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	struct unix_sock *s = arena_alloc(d->a, sizeof(*s));
	struct unix_dump *u = state(d);
	int r;

	if (!u)
		return -EIO;
	s->pid = f->pid;
	s->tfd = f->tfd;
	s->e = e->usk = arena_msg(d->a, unix_sk_entry, UnixSkEntry);
	s->e->id = e->id;
	s->e->ino = (uint32_t)f->st.st_ino;
	s->e->flags = f->flags;
	s->e->fown = dumping_fown(d, f->fd);
	r = dump_facts(d, f, s);
	if (!r)
		r = sk_opts_dump(d, f->fd, &s->e->opts);
	if (!r)
		r = keep_queue(d, f, s);
	if (!r)
		arena_add(d->a, &u->v, &u->n, s);
	return r;
}

/* ---- dump: all of them ----------------------------------------------------------------------- */

static int in_sock(const struct dumping *d, int r, const struct unix_sock *s)
{
	for (size_t i = 0; r < 0 && i < d->ntasks; i++)
		if (d->tasks[i].pid == s->pid)
			return err_ctx(r, "task %d (%s): fd %d", s->pid, d->tasks[i].stat.comm, s->tfd);
	return err_ctx(r, "unix socket %u", s->e->ino);
}

static int by_ino(const void *a, const void *b)
{
	const struct unix_sock *const *x = a, *const *y = b;

	return (*x)->e->ino < (*y)->e->ino ? -1 : (*x)->e->ino > (*y)->e->ino;
}

static struct unix_sock *find(const struct unix_dump *u, uint32_t ino)
{
	UnixSkEntry e = { .ino = ino };
	struct unix_sock key = { .e = &e }, *k = &key, **at;

	at = u->n ? bsearch(&k, u->v, u->n, sizeof(*u->v), by_ino) : NULL;
	return at ? *at : NULL;
}

/* Queues may hold sockets that are in no table, which join the list. */
static int finish_queues(struct dumping *d, struct unix_dump *u)
{
	for (size_t i = 0; i < u->n; i++) {
		struct unix_sock *s = u->v[i];
		int r = s->queue ? unix_queue_dump(d, s->queue) : 0;

		if (s->queue)
			close_queue(s->queue);
		if (r < 0)
			return in_sock(d, r, s);
	}
	return 0;
}

/* Connections that wait to be accepted at listener s. */
static int finish_waiting(const struct unix_dump *u, const struct unix_sock *s)
{
	char text[UNIX_NAME_TEXT];

	unix_name_text(s->row->name, s->row->name_len, text);
	for (size_t i = 0; i < s->row->n_pending; i++) {
		struct unix_sock *from = find(u, s->row->pending[i]);

		if (!s->row->pending[i]) {
			log_warn("unix socket %s: a connection that was closed before it was accepted is left out", text);
			continue;
		}
		if (!from)
			return err_say(ENOTSUP, "socket %u outside the tree waits to be accepted at unix socket %s, which is not supported yet",
				       s->row->pending[i], text);
		if (from->row->wqlen)
			return err_say(ENOTSUP, "data sent to unix socket %s before it accepts the connection is not supported yet",
				       text);
		from->waits = true;
		from->e->peer = s->e->ino;
		from->e->backlog = (uint32_t)i + 1;
	}
	return 0;
}

static bool extern_allowed(const struct dumping *d, const struct unix_sock *s)
{
	const struct opt_list *list = &d->opts->ext_unix_sk;

	if (list->any)
		return true;
	for (size_t i = 0; i < list->n; i++) {
		unsigned long ino = strtoul(list->item[i], NULL, 10);

		if (ino == s->e->ino || ino == s->row->peer)
			return true;
	}
	return false;
}

/* An entry for the outside socket, so that a restore knows its name. */
static int add_extern(struct dumping *d, struct unix_dump *u, const struct unix_sock *s, const struct sockdiag_unix *row)
{
	FileEntry *file = arena_msg(d->a, file_entry, FileEntry);
	UnixSkEntry *e = arena_msg(d->a, unix_sk_entry, UnixSkEntry);

	for (size_t i = 0; i < u->nexterns; i++)
		if (u->externs[i]->usk->ino == row->ino)
			return 0;
	e->id = file->id = dumping_next_id(d);
	e->ino = row->ino;
	e->type = SOCK_DGRAM;
	e->state = TCP_LISTEN;
	e->uflags = UNIX_EXTERN;
	e->fown = s->e->fown;
	e->opts = s->e->opts;
	e->name.data = arena_memdup(d->a, row->name, row->name_len);
	e->name.len = row->name_len;
	file->type = FD_TYPES__UNIXSK;
	file->usk = e;
	arena_add(d->a, &u->externs, &u->nexterns, file);
	snap_add(d->snap, IMG_FILES, &file->base);
	return 0;
}

static int finish_extern(struct dumping *d, struct unix_dump *u, const struct unix_sock *s)
{
	static const char *const types[] = { [SOCK_STREAM] = "stream", [SOCK_SEQPACKET] = "seqpacket" };
	char text[UNIX_NAME_TEXT];
	const struct sockdiag_unix *row;
	int r = sockdiag_unix(sk_dump_get(d)->sd, s->row->peer, &row);

	if (r < 0)
		return r;
	unix_name_text(row ? row->name : NULL, row ? row->name_len : 0, text);
	if (s->e->type != SOCK_DGRAM)
		return err_say(ENOTSUP, "unix %s socket %u is connected to socket %u %s outside the tree, which is not supported yet",
			       s->e->type < ARRAY_LEN(types) && types[s->e->type] ? types[s->e->type] : "?", s->e->ino,
			       s->row->peer, text);
	if (!extern_allowed(d, s))
		return err_say(ENOTSUP, "unix datagram socket %u is connected to socket %u %s outside the tree: use --ext-unix-sk to connect it again",
			       s->e->ino, s->row->peer, text);
	if (!row || !row->name_len || (row->name[0] && row->name[0] != '/'))
		return err_say(ENOTSUP, "unix datagram socket %u is connected to socket %u %s outside the tree, which has no name to connect to again",
			       s->e->ino, s->row->peer, text);
	return add_extern(d, u, s, row);
}

static int finish_peer(struct dumping *d, struct unix_dump *u, struct unix_sock *s)
{
	if (s->e->state == TCP_LISTEN || s->waits)
		return 0;
	s->e->peer = s->row->peer;
	if (s->row->peer)
		return find(u, s->row->peer) ? 0 : finish_extern(d, u, s);
	/* the other end of a pair shuts both directions down when it goes */
	if (s->e->type != SOCK_DGRAM && s->e->state == TCP_ESTABLISHED && s->row->shutdown != SK_SHUTDOWN__BOTH)
		return err_say(ENOTSUP, "unix socket %u waits to be accepted outside the tree, which is not supported yet",
			       s->e->ino);
	return 0;
}

/* The one whose address unread datagrams will have: unix_set.c writes them with the same rule. */
static const struct unix_sock *sender_of(const struct unix_dump *u, const struct unix_sock *s)
{
	const struct unix_sock *one = NULL;
	size_t n = 0;

	for (size_t i = 0; i < u->n; i++) {
		if (u->v[i]->e->peer != s->e->ino)
			continue;
		if (s->e->peer == u->v[i]->e->ino) /* a pair, or connected to itself */
			return u->v[i];
		one = u->v[i];
		n++;
	}
	return n == 1 ? one : NULL;
}

static int finish_senders(const struct unix_dump *u, const struct unix_sock *s)
{
	const struct unix_sock *w = s->queue && s->queue->nsenders ? sender_of(u, s) : NULL;
	size_t len = w ? w->row->name_len : 0;
	char text[UNIX_NAME_TEXT];

	if (s->e->type != SOCK_DGRAM || !s->queue)
		return 0;
	for (size_t i = 0; i < s->queue->nsenders; i++) {
		const struct unix_sender *k = s->queue->senders[i];

		if (k->len != len || (len && memcmp(k->name, w->row->name, len) != 0))
			return err_say(ENOTSUP, "an unread datagram from %s, whose sender is not connected, is not supported yet",
				       unix_name_text(k->name, k->len, text));
	}
	return 0;
}

static int unix_finish(struct dumping *d)
{
	struct sk_dump *k = d->kind_state[KIND_STATE_UNIX];
	struct unix_dump *u = k ? k->unix_ : NULL;
	int r = u ? finish_queues(d, u) : 0;

	if (r < 0 || !u || !u->n)
		return r;
	qsort(u->v, u->n, sizeof(*u->v), by_ino);
	for (size_t i = 0; !r && i < u->n; i++)
		r = in_sock(d, finish_waiting(u, u->v[i]), u->v[i]);
	for (size_t i = 0; !r && i < u->n; i++)
		r = in_sock(d, finish_peer(d, u, u->v[i]), u->v[i]);
	for (size_t i = 0; !r && i < u->n; i++) {
		r = in_sock(d, finish_senders(u, u->v[i]), u->v[i]);
		u->v[i]->e->has_ns_id = sk_netns_id(d, &u->v[i]->e->ns_id);
	}
	for (size_t i = 0; i < u->nexterns; i++)
		u->externs[i]->usk->has_ns_id = sk_netns_id(d, &u->externs[i]->usk->ns_id);
	return r;
}

/* ---- restore, show --------------------------------------------------------------------------- */

static int unix_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	description_owner(e->usk->fown, tfd, p);
	return 0;
}

static void unix_describe(const FileEntry *e, char *text, size_t len)
{
	const UnixSkEntry *k = e->usk;
	char name[UNIX_NAME_TEXT];

	if (!k)
		return;
	snprintf(text, len, "%s %s%s%s",
		 k->type == SOCK_STREAM ? "stream" : k->type == SOCK_DGRAM ? "datagram" : "seqpacket",
		 unix_name_text(k->name.data, k->name.len, name),
		 k->uflags & UNIX_EXTERN ? " (outside)" : k->state == TCP_LISTEN ? " listening" : "",
		 k->peer ? " connected" : "");
}

const struct kind_fd kind_fd_unix = {
	.name = "unix socket",
	.type = FD_TYPES__UNIXSK,
	.match = unix_match,
	.dump = unix_dump,
	.finish = unix_finish,
	.check = unix_set_check,
	.open = unix_set_open,
	.link = unix_set_link,
	.emit = unix_emit,
	.describe = unix_describe,
};
