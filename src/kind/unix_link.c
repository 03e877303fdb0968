/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets get their connections and what is in their queues (unix_member.h). Runs in the engine, single-threaded.
 *
 * A socket that is connected takes messages from its peer alone: so whoever connects to a
 * datagram socket goes first, then its queue is filled, then it connects itself. Connections that wait for
 * accept() are made, in their order, after all that are accepted; then shutdown(), options, flags; last, files
 * that the program had unlinked are unlinked.
 */
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "kind/description.h"
#include "kind/sk.h"
#include "kind/unix_member.h"
#include "kind/unix_queue.h"

/* Where data for s has to be written; a socket of our own where there is no other way. */
static int writer_of(const struct unix_member *s, int *ret_own)
{
	int err;

	*ret_own = -1;
	if (s->mutual || s->peer == s)
		return s->peer->fd;
	if (s->tmp >= 0)
		return s->tmp;
	if (s->nconnectors == 1)
		return s->connector->fd;
	*ret_own = unix_make(s);
	if (*ret_own < 0)
		return *ret_own;
	err = unix_name_is(s->e) ? unix_name_connect(*ret_own, s->e) :
				   err_say(EINVAL, "nobody can have filled its queue");
	return err < 0 ? err : *ret_own;
}

static int fill(struct restoring *r, const struct unix_member *s)
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

static int tie(struct restoring *r, struct unix_member *s)
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
				err = unix_in_member(tie(r, u->v[i]), u->v[i]);
				left--;
			}
	} while (!err && left && left < before);
	return err < 0 || !left ? err : err_say(EINVAL, "unix sockets are connected in a circle");
}

static int by_turn(const void *a, const void *b)
{
	const struct unix_member *const *x = a, *const *y = b;

	if ((*x)->e->backlog != (*y)->e->backlog)
		return (*x)->e->backlog < (*y)->e->backlog ? -1 : 1;
	return (*x)->e->id < (*y)->e->id ? -1 : (*x)->e->id > (*y)->e->id;
}

static int connect_waiting(struct restoring *r, const struct unix_set *u)
{
	struct unix_member **v = NULL;
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < u->n; i++)
		if (unix_is_waiting(u->v[i]))
			arena_add(r->a, &v, &n, u->v[i]);
	if (n)
		qsort(v, n, sizeof(*v), by_turn);
	for (size_t i = 0; !err && i < n; i++)
		err = unix_in_member(unix_name_connect(v[i]->fd, v[i]->peer->e), v[i]);
	return err;
}

/* SHUT_RD, SHUT_WR and SHUT_RDWR are one less than the wire's READ, WRITE and BOTH. */
static int finish_one(struct unix_member *s)
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
	if (!err && s->e->deleted && !s->unlinked && unix_name_is_path(s->e) &&
	    (!unix_is_connection(s) || unix_is_waiting(s)))
		err = unix_name_unlink(s->e);
	return err;
}

int unix_link_all(struct restoring *r, struct unix_set *u)
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
		if (!unix_is_extern(u->v[i]))
			err = unix_in_member(finish_one(u->v[i]), u->v[i]);
	return err;
}
