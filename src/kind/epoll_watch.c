/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an epoll set watches (epoll_watch.h). Runs in the engine.
 *
 * The engine adds what is watched, under the number it had: for the moment of
 * the system call the file is put at that number in the engine. Three things need care:
 *   signalfd  is watched through the signal handlers of whoever calls epoll_ctl(),
 *             so the task adds it, when its descriptors are in place;
 *   one-shot  entries that have fired are disabled, a state that no system call sets:
 *             they are added first and fired once if the file is ready for anything,
 *             else they stay armed for errors and hang-ups, which cannot be left out;
 *   nesting   needs no order: all sets exist before the first entry is added.
 */
#include "kind/epoll_watch.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "base/cleanup.h"

const FdinfoEntry *watch_fd_of_id(const struct snap_task *t, uint32_t id)
{
	for (size_t i = 0; i < t->nfds; i++)
		if (t->fds[i]->id == id)
			return t->fds[i];
	return NULL;
}

const FdinfoEntry *watch_fd_of_number(const struct snap_task *t, uint32_t tfd)
{
	size_t guess = tfd < t->nfds ? tfd + 1 : t->nfds;

	/* tables are sorted and dense as a rule: it is there or a little before */
	for (size_t i = guess; i-- > 0;)
		if (t->fds[i]->fd == tfd)
			return t->fds[i];
	for (size_t i = guess; i < t->nfds; i++)
		if (t->fds[i]->fd == tfd)
			return t->fds[i];
	return NULL;
}

uint32_t watch_file_by_number(const struct snap *s, uint32_t epoll_id, uint32_t tfd)
{
	for (size_t i = 0; i < s->ntasks; i++) {
		const struct snap_task *t = s->tasks[i];
		const FdinfoEntry *f = watch_fd_of_id(t, epoll_id) ? watch_fd_of_number(t, tfd) : NULL;

		if (f)
			return f->id;
	}
	return 0;
}

uint32_t watch_file(const struct snap *s, uint32_t epoll_id, const EventpollTfdEntry *w)
{
	return w->has_file_id ? w->file_id : watch_file_by_number(s, epoll_id, w->tfd);
}

uint32_t watch_key(const EventpollTfdEntry *w)
{
	return w->has_key_tfd ? w->key_tfd : w->tfd;
}

/* The number of the watched file in the first task that holds the set, if that task is the one to add it; else -1. */
static int added_by_task(const struct snap *s, uint32_t epoll_id, const EventpollTfdEntry *w)
{
	const FileEntry *target = snap_file(s, watch_file(s, epoll_id, w));
	const FdinfoEntry *f = NULL;

	if (!target || target->type != FD_TYPES__SIGNALFD)
		return -1;
	for (size_t i = 0; i < s->ntasks; i++)
		if (watch_fd_of_id(s->tasks[i], epoll_id)) {
			f = watch_fd_of_number(s->tasks[i], w->tfd);
			if (!f || f->id != target->id)
				f = watch_fd_of_id(s->tasks[i], target->id);
			break;
		}
	return f ? (int)f->fd : -1;
}

/* A one-shot entry that has fired: nothing but mode bits is left of its events. */
static bool disabled(const EventpollTfdEntry *w)
{
	return (w->events & EPOLLONESHOT) &&
	       !(w->events & ~(uint32_t)(EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE));
}

static int add(int ep, int number, const EventpollTfdEntry *w)
{
	struct epoll_event ev = { .events = w->events, .data.u64 = w->data }, fired;

	if (disabled(w))
		ev.events |= EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDBAND |
			     EPOLLWRBAND;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, number, &ev) < 0)
		return err_set(errno, "watch descriptor %d", number);
	if (!disabled(w) || epoll_wait(ep, &fired, 1, 0) == 1)
		return 0;
	ev.events = w->events;
	if (epoll_ctl(ep, EPOLL_CTL_MOD, number, &ev) < 0)
		return err_set(errno, "watch descriptor %d", number);
	return 0;
}

/* Puts src at `number` for the moment; whatever is there (a log, a file of the restore) comes back. */
static int add_as(int ep, int src, int number, const EventpollTfdEntry *w)
{
	int there = fcntl(number, F_GETFD), err;
	auto_close int saved = there < 0 ? -1 : fcntl(number, F_DUPFD_CLOEXEC, 3);
	auto_close int ep_moved = ep == number ? fcntl(ep, F_DUPFD_CLOEXEC, 3) : -1;

	if ((there >= 0 && saved < 0) || (ep == number && ep_moved < 0))
		return err_set(errno, "make room at descriptor %d", number);
	if (dup3(src, number, O_CLOEXEC) < 0)
		return err_set(errno, "put the watched file at descriptor %d", number);
	err = add(ep == number ? ep_moved : ep, number, w);
	if (there < 0)
		close(number);
	else if (dup3(saved, number, (there & FD_CLOEXEC) ? O_CLOEXEC : 0) < 0 && !err)
		err = err_set(errno, "bring back descriptor %d", number);
	return err;
}

static int add_watch(struct restoring *r, const FileEntry *e, int ep, const EventpollTfdEntry *w)
{
	int src = restoring_fd(r, watch_file(r->snap, e->id, w));
	int number = (int)watch_key(w);

	if (src < 0)
		return src;
	return src == number ? add(ep, number, w) : add_as(ep, src, number, w);
}

int watch_add_all(struct restoring *r, const FileEntry *e, int fd)
{
	for (int off = 1; off >= 0; off--)
		for (size_t i = 0; i < e->epfd->n_tfd; i++) {
			const EventpollTfdEntry *w = e->epfd->tfd[i];
			int err = 0;

			if (disabled(w) == off && added_by_task(r->snap, e->id, w) < 0)
				err = add_watch(r, e, fd, w);
			if (err < 0)
				return err;
		}
	return 0;
}

/* number: what the file must be added as; from: where it is. */
static void emit_add(struct prog *p, const struct snap_task *t, int ep_tfd, int from, const EventpollTfdEntry *w)
{
	const struct epoll_event ev = { .events = w->events, .data.u64 = w->data };
	uint64_t number = watch_key(w), ev_va = prog_data(p->space, &ev, sizeof(ev));
	const FdinfoEntry *there = watch_fd_of_number(t, (uint32_t)number);
	struct prog_rec *saved = NULL;
	bool move = (int)number != from;

	prog_label(p, "epoll %d: watch signalfd %d", ep_tfd, from);
	if (move && there)
		saved = prog_sys(p, SYS_fcntl, number, F_DUPFD_CLOEXEC, 0);
	if (move)
		prog_sys(p, SYS_dup3, (uint64_t)from, number, 0);
	if (saved && ep_tfd == (int)number)
		prog_ref(p, prog_sys(p, SYS_epoll_ctl, 0, EPOLL_CTL_ADD, number, ev_va), 0, saved);
	else
		prog_sys(p, SYS_epoll_ctl, (uint64_t)ep_tfd, EPOLL_CTL_ADD, number, ev_va);
	if (saved) {
		struct prog_rec *back = prog_sys(p, SYS_dup3, 0, number, (there->flags & FD_CLOEXEC) ? O_CLOEXEC : 0);

		prog_ref(p, back, 0, saved);
		prog_ref(p, prog_sys(p, SYS_close, 0), 0, saved);
	} else if (move) {
		prog_sys(p, SYS_close, number);
	}
}

void watch_emit_all(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	const struct snap_task *t = NULL;

	for (size_t i = 0; i < r->snap->ntasks && !t; i++)
		if (watch_fd_of_id(r->snap->tasks[i], e->id))
			t = r->snap->tasks[i];
	for (size_t i = 0; t && i < e->epfd->n_tfd; i++) {
		int from = added_by_task(r->snap, e->id, e->epfd->tfd[i]);

		if (from >= 0)
			emit_add(p, t, tfd, from, e->epfd->tfd[i]);
	}
}
