/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restore of unix sockets (unix_set.h). Runs in the engine, single-threaded.
 *
 * A unix socket cannot be made to look connected: the connection has to be made.
 * So all of them come into being together, in an order that the kernel's rules force:
 * unix_open.c makes them, unix_link.c connects them one-way, fills queues and sets what comes last. Here is
 * the set itself: who belongs to whom, and what cannot be right.
 *
 * What gets lost: SO_PEERCRED tells thaw's credentials, since it was thaw that connected.
 */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kind/sk.h"
#include "kind/unix_member.h"
#include "kind/unix_queue.h"

int unix_in_member(int r, const struct unix_member *s)
{
	char text[UNIX_NAME_TEXT];

	return err_ctx(r, "unix socket %u %s", s->e->ino, unix_name_text(s->e->name.data, s->e->name.len, text));
}

static int by_ino(const void *a, const void *b)
{
	const struct unix_member *const *x = a, *const *y = b;

	return (*x)->e->ino < (*y)->e->ino ? -1 : (*x)->e->ino > (*y)->e->ino;
}

static struct unix_member *find(const struct unix_set *u, uint32_t ino)
{
	UnixSkEntry e = { .ino = ino };
	struct unix_member key = { .e = &e }, *k = &key, **at;

	at = u->n ? bsearch(&k, u->v, u->n, sizeof(*u->v), by_ino) : NULL;
	return at ? *at : NULL;
}

static void collect(struct restoring *r, struct unix_set *u)
{
	const struct img_msgs *files = &r->snap->list[IMG_FILES];

	for (size_t i = 0; i < files->n; i++) {
		const FileEntry *e = (const FileEntry *)files->v[i].msg;
		struct unix_member *s;

		if (!e->usk)
			continue;
		s = arena_alloc(r->a, sizeof(*s));
		s->e = e->usk;
		s->fd = s->tmp = -1;
		arena_add(r->a, &u->v, &u->n, s);
		if (e->usk->state == TCP_LISTEN && !unix_is_extern(s))
			arena_add(r->a, &u->listeners, &u->nlisteners, s);
	}
	if (u->n)
		qsort(u->v, u->n, sizeof(*u->v), by_ino);
}

static int join_peer(const struct unix_set *u, struct unix_member *s)
{
	if (!s->e->peer)
		return 0;
	s->peer = find(u, s->e->peer);
	if (!s->peer)
		return err_say(EINVAL, "its peer %u is not in the image", s->e->peer);
	s->mutual = s->peer != s && s->peer->e->peer == s->e->ino;
	if (s->peer->e->type != s->e->type)
		return err_say(EINVAL, "its peer %u is of another type", s->e->peer);
	if (!unix_is_connection(s) && s->e->type != SOCK_DGRAM)
		return err_say(EINVAL, "it has a peer, but is not connected");
	if (unix_is_connection(s) && !s->mutual && (!unix_is_waiting(s) || unix_is_extern(s->peer)))
		return err_say(EINVAL, "its peer %u is connected to another socket", s->e->peer);
	if (s->mutual && s->peer->e->state == TCP_LISTEN)
		return err_say(EINVAL, "it is connected to a listening socket that is connected to it");
	if (s->e->type == SOCK_DGRAM && !s->mutual && s->peer != s) {
		s->peer->connector = s;
		s->peer->nconnectors++;
		if (!unix_name_is(s->peer->e))
			return err_say(ENOTSUP, "it is connected one-way to socket %u, which has no name", s->e->peer);
	}
	return 0;
}

static int join_packets(struct restoring *r, struct unix_set *u)
{
	const struct img_msgs *q = &r->snap->list[IMG_SK_QUEUES];

	for (size_t i = 0; i < q->n; i++) {
		const SkPacketEntry *e = (const SkPacketEntry *)q->v[i].msg;
		const FileEntry *file = snap_file(r->snap, e->id_for);
		struct unix_member *s = file && file->usk ? find(u, file->usk->ino) : NULL;
		int err = unix_queue_check(&q->v[i]);

		if (err < 0)
			return err;
		if (!s || unix_is_extern(s) || unix_is_waiting(s) || s->e->state == TCP_LISTEN)
			return err_say(EINVAL, "queued data for file %u, which cannot have any", e->id_for);
		arena_add(r->a, &s->packets, &s->npackets, (void *)(uintptr_t)&q->v[i]);
	}
	return 0;
}

/* Made at the first call. */
static int set_get(struct restoring *r, struct unix_set **ret)
{
	struct unix_set *u = r->kind_state[KIND_STATE_UNIX];
	int err = 0;

	*ret = u;
	if (u)
		return 0;
	*ret = u = arena_alloc(r->a, sizeof(*u));
	collect(r, u);
	for (size_t i = 0; !err && i < u->n; i++) {
		if (i && u->v[i]->e->ino == u->v[i - 1]->e->ino)
			err = err_say(EINVAL, "two unix sockets have the inode %u", u->v[i]->e->ino);
		else
			err = unix_in_member(join_peer(u, u->v[i]), u->v[i]);
	}
	for (size_t i = 0; i < u->n; i++)
		u->v[i]->nwaiting = u->v[i]->nconnectors;
	if (!err)
		err = join_packets(r, u);
	if (!err)
		r->kind_state[KIND_STATE_UNIX] = u;
	return err;
}

static int check_shape(const UnixSkEntry *e)
{
	bool dgram = e->type == SOCK_DGRAM;

	if (e->uflags & ~(uint32_t)UNIX_EXTERN)
		return err_say(ENOTSUP, "a unix socket with flags 0x%x is not supported yet", e->uflags);
	if (e->type != SOCK_STREAM && !dgram && e->type != SOCK_SEQPACKET)
		return err_say(EINVAL, "a unix socket of type %u", e->type);
	if (e->state != TCP_ESTABLISHED && e->state != TCP_CLOSE && e->state != TCP_LISTEN)
		return err_say(EINVAL, "a unix socket in state %u", e->state);
	if (e->state == TCP_LISTEN && !(e->uflags & UNIX_EXTERN) && (dgram || !unix_name_is(e)))
		return err_say(EINVAL, "a listening unix socket that cannot listen");
	if (e->backlog > INT32_MAX || (e->has_shutdown && (uint32_t)e->shutdown > SK_SHUTDOWN__BOTH))
		return err_say(EINVAL, "backlog %u, shutdown %d are out of range", e->backlog, (int)e->shutdown);
	return 0;
}

int unix_set_check(struct restoring *r, const FileEntry *e)
{
	struct unix_set *u;
	struct unix_member s = { .e = e->usk };
	int err;

	if (!e->usk)
		return err_say(EINVAL, "the entry has no socket in it");
	err = check_shape(e->usk);
	if (!err)
		err = set_get(r, &u);
	if (!err)
		err = sk_opts_check(e->usk->opts);
	if (err < 0)
		return err;
	if (unix_is_extern(&s)) {
		if (r->opts->ext_unix_sk.any || r->opts->ext_unix_sk.n)
			return 0;
		return unix_in_member(err_say(EPERM, "it is outside the tree: use --ext-unix-sk to connect to it again"), &s);
	}
	return unix_is_connection(&s) ? 0 : unix_name_check(e->usk);
}

int unix_set_open(struct restoring *r, const FileEntry *e)
{
	struct unix_set *u;
	struct unix_member *s;
	int err = set_get(r, &u);

	if (!err && !u->opened)
		err = unix_open_all(r, u);
	if (err < 0)
		return err;
	s = find(u, e->usk->ino);
	if (!s || !s->owned)
		return err_say(EINVAL, "unix socket %u was opened twice", e->usk->ino);
	s->owned = false;
	return s->fd;
}

int unix_set_link(struct restoring *r, const FileEntry *e, int fd)
{
	struct unix_set *u;
	int err = set_get(r, &u);

	(void)e;
	(void)fd;
	return err < 0 || u->linked ? err : unix_link_all(r, u);
}
