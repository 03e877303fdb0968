/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets: streams, datagrams, seqpackets. Runs in the engine.
 *
 * Dump sees them one by one; who is connected to whom is settled when all are
 * known (unix_peers.c, where it says what `peer` of an entry can mean). Restore makes all of them together
 * (unix_set.c).
 */
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kind/description.h"
#include "kind/registry.h"
#include "kind/sk.h"
#include "kind/unix_name.h"
#include "kind/unix_peers.h"
#include "kind/unix_set.h"

static bool unix_match(const struct fd_facts *f)
{
	return sk_family(f) == AF_UNIX;
}

/* ---- dump: one socket ------------------------------------------------------------------------ */

/* Looked into later: what is in flight in it may refer to any file of the tree. f->fd stays open that long. */
static void keep_queue(struct dumping *d, const struct fd_facts *f, struct unix_sock *s)
{
	struct unix_queue *q;

	if (s->e->state == TCP_LISTEN || !unix_queue_any(f->fd))
		return;
	q = arena_alloc(d->a, sizeof(*q));
	q->file_id = s->e->id;
	q->type = (int)s->e->type;
	q->fd = f->fd;
	s->queue = q;
}

static int dump_facts(struct dumping *d, const struct fd_facts *f, struct unix_sock *s)
{
	UnixSkEntry *e = s->e;
	int r = sk_same_netns(d, f->fd);

	if (!r)
		r = sockdiag_unix(sk_dump_get(d)->sd, e->ino, &s->row);
	if (r < 0)
		return r;
	if (!s->row)
		return err_say(ENOENT, "unix socket %u is not in the kernel's table", e->ino);
	r = sk_lost_check(f, AF_UNIX, 0);
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
	if (r < 0)
		return r;
	keep_queue(d, f, s);
	arena_add(d->a, &u->v, &u->n, s);
	return 0;
}

static int unix_finish(struct dumping *d)
{
	struct sk_dump *k = d->kind_state[KIND_STATE_UNIX];

	return k && k->unix_ ? unix_peers_settle(d, k->unix_) : 0;
}

/* ---- restore, show --------------------------------------------------------------------------- */

static int unix_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	description_owner(e->usk->fown, tfd, p);
	description_async(e->usk->flags, tfd, p);
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
