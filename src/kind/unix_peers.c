/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is connected to whom (unix_peers.h). Runs in the engine, when all unix sockets of the tree are known.
 *
 * `peer` of an entry is the inode of the other end:
 *
 *   both name each other            a pair (socketpair, or connect and accept)
 *   one names a listening socket    connected to it, not accepted yet. The kernel gives such a socket no peer;
 *                                   the listener's list of waiting ones says it. `backlog`, which means nothing for
 *                                   it otherwise, holds its place in that list, from 1
 *   a datagram socket names one     connected, one way
 *   0, in state ESTABLISHED         the other end is gone
 *   one flagged EXTERN              outside the tree (--ext-unix-sk); an entry without a descriptor holds its name
 */
#include "kind/unix_peers.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kind/sk.h"
#include "kind/unix_name.h"
#include "kind/unix_set.h"

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
static int settle_queues(struct dumping *d, struct unix_dump *u)
{
	for (size_t i = 0; i < u->n; i++) {
		struct unix_sock *s = u->v[i];
		int r = s->queue ? unix_queue_dump(d, s->queue) : 0;

		if (r < 0)
			return in_sock(d, r, s);
	}
	return 0;
}

/* Connections that wait to be accepted at listener s. */
static int settle_waiting(const struct unix_dump *u, const struct unix_sock *s)
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
static int add_extern(struct dumping *d, struct unix_dump *u, const struct unix_sock *s,
		      const struct sockdiag_unix *row)
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

static int settle_extern(struct dumping *d, struct unix_dump *u, const struct unix_sock *s)
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

static int settle_peer(struct dumping *d, struct unix_dump *u, struct unix_sock *s)
{
	if (s->e->state == TCP_LISTEN || s->waits)
		return 0;
	s->e->peer = s->row->peer;
	if (s->row->peer)
		return find(u, s->row->peer) ? 0 : settle_extern(d, u, s);
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

static int settle_senders(const struct unix_dump *u, const struct unix_sock *s)
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

int unix_peers_settle(struct dumping *d, struct unix_dump *u)
{
	int r = settle_queues(d, u);

	if (r < 0 || !u->n)
		return r;
	qsort(u->v, u->n, sizeof(*u->v), by_ino);
	for (size_t i = 0; !r && i < u->n; i++)
		r = in_sock(d, settle_waiting(u, u->v[i]), u->v[i]);
	for (size_t i = 0; !r && i < u->n; i++)
		r = in_sock(d, settle_peer(d, u, u->v[i]), u->v[i]);
	for (size_t i = 0; !r && i < u->n; i++) {
		r = in_sock(d, settle_senders(u, u->v[i]), u->v[i]);
		u->v[i]->e->has_ns_id = sk_netns_id(d, &u->v[i]->e->ns_id);
	}
	for (size_t i = 0; i < u->nexterns; i++)
		u->externs[i]->usk->has_ns_id = sk_netns_id(d, &u->externs[i]->usk->ns_id);
	return r;
}
