/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restore of unix sockets (unix_set.h). Runs in the engine, single-threaded.
 *
 * A unix socket cannot be made to look connected: the connection has to be made.
 * So all of them come into being together, in an order that the kernel's rules force:
 *
 *   open   sockets with a name of their own are bound, listeners listen;
 *          pairs are made: by socketpair(), or, where one end has the name of a listener (accept() gave it
 *          that), by connecting to that listener and accepting, for both ends tell that name ever after;
 *   link   queues are filled, one-way datagram connections made: a socket that is connected takes messages from
 *          its peer alone, so whoever connects to it goes first, then its queue is filled, then it connects itself;
 *          connections that wait for accept() are made, in their order, after all that are accepted;
 *          then shutdown(), options, flags; last, files that the program had unlinked are unlinked.
 *
 * What gets lost: SO_PEERCRED tells thaw's credentials, since it was thaw that connected.
 */
#include "kind/unix_set.h"

#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kind/description.h"
#include "kind/sk.h"
#include "kind/unix_name.h"
#include "kind/unix_queue.h"

struct sock {
	const UnixSkEntry *e;
	struct sock *peer;
	bool mutual;                  /* the peer names this one, too */
	int fd;
	int tmp;                      /* the end of a pair that is gone, until the queue is filled */
	bool owned;                   /* fd is still ours to close */
	bool unlinked, tied;
	const struct img_msg **packets;
	size_t npackets;
	struct sock *connector;       /* one of those that connect to it one-way */
	size_t nconnectors, nwaiting; /* all of them; those not connected yet */
};

struct unix_set {
	struct sock **v; /* by inode */
	size_t n;
	bool opened, linked;
};

static int in_sock(int r, const struct sock *s)
{
	char text[UNIX_NAME_TEXT];

	return err_ctx(r, "unix socket %u %s", s->e->ino, unix_name_text(s->e->name.data, s->e->name.len, text));
}

static bool is_extern(const struct sock *s)
{
	return s->e->uflags & UNIX_EXTERN;
}

/* An end of a stream or seqpacket connection, as opposed to a socket that can be made alone. */
static bool is_connection(const struct sock *s)
{
	return s->e->type != SOCK_DGRAM && s->e->state == TCP_ESTABLISHED;
}

static bool is_waiting(const struct sock *s)
{
	return is_connection(s) && s->peer && s->peer->e->state == TCP_LISTEN;
}

/* ---- the set, and what is wrong with it ------------------------------------------------------ */

static int by_ino(const void *a, const void *b)
{
	const struct sock *const *x = a, *const *y = b;

	return (*x)->e->ino < (*y)->e->ino ? -1 : (*x)->e->ino > (*y)->e->ino;
}

static struct sock *find(const struct unix_set *u, uint32_t ino)
{
	UnixSkEntry e = { .ino = ino };
	struct sock key = { .e = &e }, *k = &key, **at;

	at = u->n ? bsearch(&k, u->v, u->n, sizeof(*u->v), by_ino) : NULL;
	return at ? *at : NULL;
}

static void collect(struct restoring *r, struct unix_set *u)
{
	const struct img_msgs *files = &r->snap->list[IMG_FILES];

	for (size_t i = 0; i < files->n; i++) {
		const FileEntry *e = (const FileEntry *)files->v[i].msg;
		struct sock *s;

		if (!e->usk)
			continue;
		s = arena_alloc(r->a, sizeof(*s));
		s->e = e->usk;
		s->fd = s->tmp = -1;
		arena_add(r->a, &u->v, &u->n, s);
	}
	if (u->n)
		qsort(u->v, u->n, sizeof(*u->v), by_ino);
}

static int join_peer(const struct unix_set *u, struct sock *s)
{
	if (!s->e->peer)
		return 0;
	s->peer = find(u, s->e->peer);
	if (!s->peer)
		return err_say(EINVAL, "its peer %u is not in the image", s->e->peer);
	s->mutual = s->peer != s && s->peer->e->peer == s->e->ino;
	if (s->peer->e->type != s->e->type)
		return err_say(EINVAL, "its peer %u is of another type", s->e->peer);
	if (!is_connection(s) && s->e->type != SOCK_DGRAM)
		return err_say(EINVAL, "it has a peer, but is not connected");
	if (is_connection(s) && !s->mutual && (!is_waiting(s) || is_extern(s->peer)))
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
		struct sock *s = file && file->usk ? find(u, file->usk->ino) : NULL;
		int err = unix_queue_check(&q->v[i]);

		if (err < 0)
			return err;
		if (!s || is_extern(s) || is_waiting(s) || s->e->state == TCP_LISTEN)
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
			err = in_sock(join_peer(u, u->v[i]), u->v[i]);
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
	struct sock s = { .e = e->usk };
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
	if (is_extern(&s)) {
		if (r->opts->ext_unix_sk.any || r->opts->ext_unix_sk.n)
			return 0;
		return in_sock(err_say(EPERM, "it is outside the tree: use --ext-unix-sk to connect to it again"), &s);
	}
	return is_connection(&s) ? 0 : unix_name_check(e->usk);
}

/* ---- open ------------------------------------------------------------------------------------ */

static void give(struct sock *s, int fd)
{
	s->fd = fd;
	s->owned = true;
}

static void close_owned(void *arg)
{
	struct unix_set *u = arg;

	for (size_t i = 0; i < u->n; i++) {
		struct sock *s = u->v[i];

		if (s->owned && s->fd >= 0)
			close(s->fd);
		if (s->tmp >= 0)
			close(s->tmp);
		s->owned = false;
		s->tmp = -1;
	}
}

static int make(const struct sock *s)
{
	int fd = socket(AF_UNIX, (int)s->e->type | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_set(errno, "socket()") : fd;
}

/* other NULL: the other end is gone, all but its name to close it by. */
static int make_pair(struct sock *s, struct sock *other)
{
	int sv[2];

	if (socketpair(AF_UNIX, (int)s->e->type | SOCK_CLOEXEC, 0, sv) < 0)
		return err_set(errno, "socketpair()");
	give(s, sv[0]);
	if (other)
		give(other, sv[1]);
	else
		s->tmp = sv[1];
	return 0;
}

/* A path that was unlinked, and that another socket of the image has now. */
static int unlink_early(const struct unix_set *u, struct sock *s)
{
	for (size_t i = 0; s->e->deleted && i < u->n; i++)
		if (u->v[i] != s && !u->v[i]->e->deleted && unix_name_equal(u->v[i]->e, s->e)) {
			s->unlinked = true;
			return unix_name_unlink(s->e);
		}
	return 0;
}

static int bind_one(struct restoring *r, const struct unix_set *u, struct sock *s)
{
	int err = unix_name_bind(r, s->fd, s->e);

	return err < 0 ? err : unlink_early(u, s);
}

/* Everything but connections. */
static int open_alone(struct restoring *r, const struct unix_set *u, struct sock *s)
{
	bool orphan = s->e->type == SOCK_DGRAM && s->e->state == TCP_ESTABLISHED && !s->peer && !unix_name_is(s->e);
	int err = 0;

	if (s->fd < 0) {
		if (orphan || s->mutual)
			err = make_pair(s, s->mutual ? s->peer : NULL);
		else {
			err = make(s);
			if (err >= 0)
				give(s, err);
		}
	}
	if (err < 0 || is_extern(s))
		return err;
	err = bind_one(r, u, s);
	if (!err && s->e->state == TCP_LISTEN && listen(s->fd, (int)s->e->backlog) < 0)
		err = err_set(errno, "listen");
	return err;
}

static struct sock *listener_of(const struct unix_set *u, const struct sock *s)
{
	for (size_t i = 0; i < u->n; i++)
		if (u->v[i]->e->state == TCP_LISTEN && u->v[i]->e->type == s->e->type &&
		    unix_name_equal(u->v[i]->e, s->e))
			return u->v[i];
	return NULL;
}

/* A listener that is gone, made once more to have connections come from it. */
static int stand_in(struct restoring *r, const struct sock *s)
{
	auto_close int fd = make(s);
	int err;

	if (fd < 0)
		return fd;
	err = unix_name_bind(r, fd, s->e);
	if (!err && listen(fd, 1) < 0)
		err = err_set(errno, "listen");
	return err < 0 ? err : take_fd(&fd);
}

/* acc becomes the end that accept() gives, cli the one that connects (NULL: gone). */
static int connect_pair(struct restoring *r, const struct unix_set *u, int listen_fd, struct sock *acc, struct sock *cli)
{
	auto_close int fd = make(acc);
	int err;

	if (fd < 0)
		return fd;
	err = cli ? unix_name_bind(r, fd, cli->e) : 0;
	if (!err)
		err = unix_name_connect(fd, acc->e);
	if (!err) {
		err = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (err < 0)
			return err_set(errno, "accept");
		give(acc, err);
	}
	if (err < 0)
		return err;
	if (!cli) {
		acc->tmp = take_fd(&fd);
		return 0;
	}
	give(cli, take_fd(&fd));
	return unlink_early(u, cli);
}

/* Both ends of a connection of which one was accepted by somebody who listens no more. */
static int open_unheard(struct restoring *r, const struct unix_set *u, struct sock *acc, struct sock *cli)
{
	auto_close int fd = stand_in(r, acc);
	int err;

	if (fd < 0) {
		log_warn("a connection made through it loses its name: %s", err_text());
		err_clear();
		return make_pair(acc, cli);
	}
	err = connect_pair(r, u, fd, acc, cli);
	if (!err && acc->e->deleted)
		err = unix_name_unlink(acc->e);
	return err;
}

static int open_connection(struct restoring *r, const struct unix_set *u, struct sock *s)
{
	struct sock *l, *peer = s->mutual ? s->peer : NULL;

	if (s->fd >= 0)
		return 0;
	if (is_waiting(s)) {
		int fd = make(s);

		if (fd < 0)
			return fd;
		give(s, fd);
		return bind_one(r, u, s);
	}
	l = listener_of(u, s);
	if (l)
		return connect_pair(r, u, l->fd, s, peer);
	l = peer ? listener_of(u, peer) : NULL;
	if (l)
		return connect_pair(r, u, l->fd, peer, s);
	if (unix_name_is(s->e))
		return open_unheard(r, u, s, peer);
	if (peer && unix_name_is(peer->e))
		return open_unheard(r, u, peer, s);
	return make_pair(s, peer);
}

static int open_all(struct restoring *r, struct unix_set *u)
{
	int err = 0;

	restoring_undo(r, close_owned, u);
	u->opened = true;
	for (int deleted = 1; deleted >= 0; deleted--)
		for (size_t i = 0; !err && i < u->n; i++)
			if (!is_connection(u->v[i]) && !!u->v[i]->e->deleted == deleted)
				err = in_sock(open_alone(r, u, u->v[i]), u->v[i]);
	for (size_t i = 0; !err && i < u->n; i++)
		if (is_connection(u->v[i]))
			err = in_sock(open_connection(r, u, u->v[i]), u->v[i]);
	return err;
}

int unix_set_open(struct restoring *r, const FileEntry *e)
{
	struct unix_set *u;
	struct sock *s;
	int err = set_get(r, &u);

	if (!err && !u->opened)
		err = open_all(r, u);
	if (err < 0)
		return err;
	s = find(u, e->usk->ino);
	if (!s || !s->owned)
		return err_say(EINVAL, "unix socket %u was opened twice", e->usk->ino);
	s->owned = false;
	return s->fd;
}

/* ---- link ------------------------------------------------------------------------------------ */

/* Where data for s has to be written; a socket of our own where there is no other way. */
static int writer_of(const struct sock *s, int *ret_own)
{
	int err;

	*ret_own = -1;
	if (s->mutual || s->peer == s)
		return s->peer->fd;
	if (s->tmp >= 0)
		return s->tmp;
	if (s->nconnectors == 1)
		return s->connector->fd;
	*ret_own = make(s);
	if (*ret_own < 0)
		return *ret_own;
	err = unix_name_is(s->e) ? unix_name_connect(*ret_own, s->e) : err_say(EINVAL, "nobody can have filled its queue");
	return err < 0 ? err : *ret_own;
}

static int fill(struct restoring *r, const struct sock *s)
{
	auto_close int own = -1;
	int fd, err;

	if (!s->npackets)
		return 0;
	fd = writer_of(s, &own);
	err = fd < 0 ? fd : sk_opts_grow(fd);
	for (size_t i = 0; !err && i < s->npackets; i++)
		err = unix_queue_refill(r, fd, s->packets[i]);
	return err;
}

static int tie(struct restoring *r, struct sock *s)
{
	int err = 0;

	s->tied = true;
	if (s->peer != s)
		err = fill(r, s);
	if (err < 0 || s->e->type != SOCK_DGRAM || s->mutual || !s->peer)
		return err;
	err = unix_name_connect(s->fd, s->peer->e);
	if (s->peer == s)
		return err < 0 ? err : fill(r, s);
	s->peer->nwaiting--;
	return err;
}

static int tie_all(struct restoring *r, const struct unix_set *u)
{
	size_t left = u->n, before;
	int err = 0;

	do {
		before = left;
		for (size_t i = 0; !err && i < u->n; i++)
			if (!u->v[i]->tied && !u->v[i]->nwaiting) {
				err = in_sock(tie(r, u->v[i]), u->v[i]);
				left--;
			}
	} while (!err && left && left < before);
	return err < 0 || !left ? err : err_say(EINVAL, "unix sockets are connected in a circle");
}

static int by_turn(const void *a, const void *b)
{
	const struct sock *const *x = a, *const *y = b;

	if ((*x)->e->backlog != (*y)->e->backlog)
		return (*x)->e->backlog < (*y)->e->backlog ? -1 : 1;
	return (*x)->e->id < (*y)->e->id ? -1 : (*x)->e->id > (*y)->e->id;
}

static int connect_waiting(struct restoring *r, const struct unix_set *u)
{
	struct sock **v = NULL;
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < u->n; i++)
		if (is_waiting(u->v[i]))
			arena_add(r->a, &v, &n, u->v[i]);
	if (n)
		qsort(v, n, sizeof(*v), by_turn);
	for (size_t i = 0; !err && i < n; i++)
		err = in_sock(unix_name_connect(v[i]->fd, v[i]->peer->e), v[i]);
	return err;
}

/* SHUT_RD, SHUT_WR and SHUT_RDWR are one less than the wire's READ, WRITE and BOTH. */
static int finish_one(struct sock *s)
{
	int err;

	if (s->tmp >= 0) {
		close(s->tmp);
		s->tmp = -1;
	}
	if (s->e->has_shutdown && s->e->shutdown && shutdown(s->fd, (int)s->e->shutdown - 1) < 0)
		return err_set(errno, "shutdown");
	err = sk_opts_restore(s->fd, s->e->opts);
	if (!err)
		err = description_flags(s->fd, s->e->flags);
	if (!err && s->e->deleted && !s->unlinked && unix_name_is_path(s->e) && (!is_connection(s) || is_waiting(s)))
		err = unix_name_unlink(s->e);
	return err;
}

static int link_all(struct restoring *r, struct unix_set *u)
{
	int err = 0;

	u->linked = true;
	for (size_t i = 0; i < u->n; i++) {
		u->v[i]->fd = restoring_fd(r, u->v[i]->e->id);
		if (u->v[i]->fd < 0)
			return u->v[i]->fd;
	}
	err = tie_all(r, u);
	if (!err)
		err = connect_waiting(r, u);
	for (size_t i = 0; !err && i < u->n; i++)
		if (!is_extern(u->v[i]))
			err = in_sock(finish_one(u->v[i]), u->v[i]);
	return err;
}

int unix_set_link(struct restoring *r, const FileEntry *e, int fd)
{
	struct unix_set *u;
	int err = set_get(r, &u);

	(void)e;
	(void)fd;
	return err < 0 || u->linked ? err : link_all(r, u);
}
