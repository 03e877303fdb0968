/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll: a set of watched files.
 *
 * The kernel knows an entry by the open file and the number it had when it was
 * added. The number may since have been closed or given to another file (the
 * watched one lives on as a duplicate), so it only says where to look first:
 * kcmp() tells which descriptor of the tree is really meant. Where the number
 * does not lead there, our own fields of the wire's entry say what does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "kern/kcmp.h"
#include "kind/description.h"
#include "kind/epoll_watch.h"
#include "kind/watch_index.h"

/* An epoll set of the dump: where it was found. */
struct seen {
	struct seen *next;
	EventpollFileEntry *ep;
	int32_t pid;
	int tfd;
};

struct epoll_dump {
	struct seen *seen;
	struct watch_index *index; /* NULL until an entry has moved */
};

static bool epoll_match(const struct fd_facts *f)
{
	return !strcmp(f->link, "anon_inode:[eventpoll]");
}

/* ---- dump ------------------------------------------------------------------------------------ */

static struct epoll_dump *state(struct dumping *d)
{
	if (!d->kind_state[KIND_STATE_EPOLL])
		d->kind_state[KIND_STATE_EPOLL] = arena_alloc(d->a, sizeof(struct epoll_dump));
	return d->kind_state[KIND_STATE_EPOLL];
}

static EventpollTfdEntry *watch_new(struct dumping *d, const struct fdinfo_epoll *line)
{
	EventpollTfdEntry *w = arena_msg(d->a, eventpoll_tfd_entry, EventpollTfdEntry);

	w->tfd = (uint32_t)line->tfd;
	w->events = line->events;
	w->data = line->data;
	w->has_dev = w->has_inode = w->has_pos = true;
	w->dev = line->sdev;
	w->inode = line->ino;
	w->pos = line->pos;
	return w;
}

static int epoll_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	EventpollFileEntry *ep = arena_msg(d->a, eventpoll_file_entry, EventpollFileEntry);
	struct seen *seen = arena_alloc(d->a, sizeof(*seen));
	struct fdinfo_epoll line;
	struct fdinfo info;
	const char *cursor;
	int more = description_info(d, f, &info);

	if (more < 0)
		return more;
	cursor = info.rest;
	while ((more = fdinfo_epoll_next(&cursor, &line)) > 0)
		arena_add(d->a, &ep->tfd, &ep->n_tfd, watch_new(d, &line));
	if (more < 0)
		return more;
	if (ep->n_tfd && f->tfd < 0)
		return err_say(ENOTSUP, "a watching epoll in flight in a socket is not supported yet");
	ep->id = e->id;
	ep->flags = f->flags;
	ep->fown = dumping_fown(d, f->fd);
	e->epfd = ep;
	*seen = (struct seen){ state(d)->seen, ep, f->pid, f->tfd };
	state(d)->seen = seen;
	return 0;
}

/* Does the number in the task where the set was found still mean the watched file? */
static int number_holds(struct dumping *d, const struct seen *s, const EventpollTfdEntry *w, uint32_t nth,
			uint32_t *ret_id)
{
	for (size_t k = 0; k < d->ntasks; k++) {
		const FdinfoEntry *f = d->tasks[k].pid == s->pid ? watch_fd_of_number(d->tasks[k].t, w->tfd) : NULL;

		if (f) {
			*ret_id = f->id;
			return kcmp_epoll(s->pid, (int)w->tfd, s->pid, s->tfd, (int)w->tfd, nth);
		}
	}
	return 0;
}

static const FdinfoEntry *descriptor_of(struct dumping *d, int32_t pid, uint32_t id)
{
	for (size_t k = 0; k < d->ntasks; k++)
		if (d->tasks[k].pid == pid)
			return watch_fd_of_id(d->tasks[k].t, id);
	return NULL;
}

static int resolve(struct dumping *d, const struct seen *s, EventpollTfdEntry *w, uint32_t nth, uint32_t *ret_id)
{
	const FdinfoEntry *f;
	int found = number_holds(d, s, w, nth, ret_id);

	if (found)
		return found;
	if (!state(d)->index)
		found = watch_index_new(d, &state(d)->index);
	if (!found)
		found = watch_index_find(state(d)->index, s->pid, s->tfd, w->tfd, nth, ret_id);
	if (!found)
		return err_say(ENOTSUP,
			       "task %d: fd %d: epoll watches a file, added as %u, that no task has open: this is not supported yet",
			       s->pid, s->tfd, w->tfd);
	f = found < 0 ? NULL : descriptor_of(d, s->pid, *ret_id);
	if (f) {
		w->has_key_tfd = true;
		w->key_tfd = w->tfd;
		w->tfd = f->fd;
	}
	return found;
}

static int by_number_and_place(const void *a, const void *b)
{
	EventpollTfdEntry *const *x = *(EventpollTfdEntry **const *)a, *const *y = *(EventpollTfdEntry **const *)b;

	if ((*x)->tfd != (*y)->tfd)
		return (*x)->tfd < (*y)->tfd ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Entries of equal number are told apart by their order: how many stand before each. */
static uint32_t *places(struct arena *a, const EventpollFileEntry *ep)
{
	EventpollTfdEntry ***sorted = arena_alloc(a, (ep->n_tfd + 1) * sizeof(*sorted));
	uint32_t *nth = arena_alloc(a, (ep->n_tfd + 1) * sizeof(*nth));

	for (size_t i = 0; i < ep->n_tfd; i++)
		sorted[i] = &ep->tfd[i];
	qsort(sorted, ep->n_tfd, sizeof(*sorted), by_number_and_place);
	for (size_t i = 1; i < ep->n_tfd; i++)
		if ((*sorted[i])->tfd == (*sorted[i - 1])->tfd)
			nth[sorted[i] - ep->tfd] = nth[sorted[i - 1] - ep->tfd] + 1;
	return nth;
}

static int set_finish(struct dumping *d, const struct seen *s)
{
	const uint32_t *nth = places(d->a, s->ep);

	for (size_t i = 0; i < s->ep->n_tfd; i++) {
		EventpollTfdEntry *w = s->ep->tfd[i];
		uint32_t id = 0;
		int err = resolve(d, s, w, nth[i], &id);

		if (err < 0)
			return err;
		w->has_file_id = watch_file_by_number(d->snap, s->ep->id, w->tfd) != id;
		if (w->has_file_id)
			w->file_id = id;
	}
	return 0;
}

static int epoll_finish(struct dumping *d)
{
	for (const struct seen *s = state(d)->seen; s; s = s->next) {
		int err = set_finish(d, s);

		if (err < 0)
			return err;
	}
	return 0;
}

/* ---- restore --------------------------------------------------------------------------------- */

static int epoll_check(struct restoring *r, const FileEntry *e)
{
	if (!e->epfd)
		return err_say(EINVAL, "the entry has no epoll in it");
	for (size_t i = 0; i < e->epfd->n_tfd; i++) {
		const EventpollTfdEntry *w = e->epfd->tfd[i];
		uint32_t id = watch_file(r->snap, e->id, w);

		if (!id || !snap_file(r->snap, id))
			return err_say(EINVAL, "watched descriptor %u is open in no task that has this epoll", w->tfd);
		if (watch_key(w) > INT32_MAX)
			return err_say(EINVAL, "%u is no descriptor number", watch_key(w));
	}
	return 0;
}

static int epoll_open(struct restoring *r, const FileEntry *e)
{
	auto_close int fd = epoll_create1(EPOLL_CLOEXEC);
	int err;

	(void)r;
	if (fd < 0)
		return err_set(errno, "epoll_create()");
	err = description_flags(fd, e->epfd->flags);
	return err < 0 ? err : take_fd(&fd);
}

static int epoll_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	watch_emit_all(r, e, tfd, p);
	description_owner(e->epfd->fown, tfd, p);
	return 0;
}

static void epoll_describe(const FileEntry *e, char *text, size_t len)
{
	if (e->epfd)
		snprintf(text, len, "watches %zu", e->epfd->n_tfd);
}

const struct kind_fd kind_fd_epoll = {
	.name = "epoll",
	.type = FD_TYPES__EVENTPOLL,
	.match = epoll_match,
	.dump = epoll_dump,
	.finish = epoll_finish,
	.check = epoll_check,
	.open = epoll_open,
	.link = watch_add_all,
	.emit = epoll_emit,
	.describe = epoll_describe,
};
