/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets come into being (unix_member.h). Runs in the engine, single-threaded.
 *
 * Sockets with a name of their own are bound, listeners listen. Pairs are made by
 * socketpair(); but where one end has the name of a listener (accept() gave it that), by connecting to
 * that listener and accepting, for both ends tell that name ever after.
 */
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kind/unix_member.h"

static void give(struct unix_member *s, int fd)
{
	s->fd = fd;
	s->owned = true;
}

static void close_owned(void *arg)
{
	struct unix_set *u = arg;

	for (size_t i = 0; i < u->n; i++) {
		struct unix_member *s = u->v[i];

		if (s->owned && s->fd >= 0)
			close(s->fd);
		if (s->tmp >= 0)
			close(s->tmp);
		s->owned = false;
		s->tmp = -1;
	}
}

int unix_make(const struct unix_member *s)
{
	int fd = socket(AF_UNIX, (int)s->e->type | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_set(errno, "socket()") : fd;
}

/* other NULL: the other end is gone, all but its name to close it by. */
static int make_pair(struct unix_member *s, struct unix_member *other)
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
static int unlink_early(const struct unix_set *u, struct unix_member *s)
{
	for (size_t i = 0; s->e->deleted && i < u->n; i++)
		if (u->v[i] != s && !u->v[i]->e->deleted && unix_name_equal(u->v[i]->e, s->e)) {
			s->unlinked = true;
			return unix_name_unlink(s->e);
		}
	return 0;
}

static int bind_one(struct restoring *r, const struct unix_set *u, struct unix_member *s)
{
	int err = unix_name_bind(r, s->fd, s->e);

	return err < 0 ? err : unlink_early(u, s);
}

/* Everything but connections. */
static int open_alone(struct restoring *r, const struct unix_set *u, struct unix_member *s)
{
	bool orphan = s->e->type == SOCK_DGRAM && s->e->state == TCP_ESTABLISHED && !s->peer && !unix_name_is(s->e);
	int err = 0;

	if (s->fd < 0) {
		if (orphan || s->mutual)
			err = make_pair(s, s->mutual ? s->peer : NULL);
		else {
			int fd = unix_make(s);

			if (fd < 0)
				return fd;
			give(s, fd);
		}
	}
	if (err < 0 || unix_is_extern(s))
		return err;
	err = bind_one(r, u, s);
	if (!err && s->e->state == TCP_LISTEN && listen(s->fd, (int)s->e->backlog) < 0)
		err = err_set(errno, "listen");
	return err;
}

static struct unix_member *listener_of(const struct unix_set *u, const struct unix_member *s)
{
	for (size_t i = 0; unix_name_is(s->e) && i < u->nlisteners; i++)
		if (u->listeners[i]->e->type == s->e->type && unix_name_equal(u->listeners[i]->e, s->e))
			return u->listeners[i];
	return NULL;
}

/* A listener that is gone, made once more to have connections come from it. */
static int stand_in(struct restoring *r, const struct unix_member *s)
{
	auto_close int fd = unix_make(s);
	int err;

	if (fd < 0)
		return fd;
	err = unix_name_bind(r, fd, s->e);
	if (!err && listen(fd, 1) < 0)
		err = err_set(errno, "listen");
	return err < 0 ? err : take_fd(&fd);
}

/* acc becomes the end that accept() gives, cli the one that connects (NULL: gone). */
static int connect_pair(struct restoring *r, const struct unix_set *u, int listen_fd, struct unix_member *acc,
			struct unix_member *cli)
{
	auto_close int fd = unix_make(acc);
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
static int open_unheard(struct restoring *r, const struct unix_set *u, struct unix_member *acc, struct unix_member *cli)
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

static int open_connection(struct restoring *r, const struct unix_set *u, struct unix_member *s)
{
	struct unix_member *l, *peer = s->mutual ? s->peer : NULL;

	if (s->fd >= 0)
		return 0;
	if (unix_is_waiting(s)) {
		int fd = unix_make(s);

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

int unix_open_all(struct restoring *r, struct unix_set *u)
{
	int err = 0;

	restoring_undo(r, close_owned, u);
	u->opened = true;
	for (int deleted = 1; deleted >= 0; deleted--)
		for (size_t i = 0; !err && i < u->n; i++)
			if (!unix_is_connection(u->v[i]) && !!u->v[i]->e->deleted == deleted)
				err = unix_in_member(open_alone(r, u, u->v[i]), u->v[i]);
	for (size_t i = 0; !err && i < u->n; i++)
		if (unix_is_connection(u->v[i]))
			err = unix_in_member(open_connection(r, u, u->v[i]), u->v[i]);
	return err;
}
