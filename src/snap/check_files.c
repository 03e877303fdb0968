/* SPDX-License-Identifier: Apache-2.0 */
/* File entries and who refers to them (check.h). */
#include "snap/check.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

/* Above what any kernel lets fs.nr_open be set to. */
static const uint32_t FD_MOST = (1u << 30) - 1;

static const struct {
	FdTypes type;
	const char *name;
	size_t off; /* of the entry's member for it */
} members[] = {
#define M(TYPE, member) { FD_TYPES__##TYPE, #TYPE, offsetof(FileEntry, member) }
	M(REG, reg), M(PIPE, pipe), M(FIFO, fifo), M(INETSK, isk), M(UNIXSK, usk), M(EVENTFD, efd), M(EVENTPOLL, epfd),
	M(INOTIFY, ify), M(SIGNALFD, sgfd), M(PACKETSK, psk), M(TTY, tty), M(FANOTIFY, ffy), M(NETLINKSK, nlsk),
	M(NS, nsf), M(TUNF, tunf), M(EXT, ext), M(TIMERFD, tfd), M(MEMFD, memfd), M(BPFMAP, bpf), M(PIDFD, pidfd),
#undef M
};

int check_file(const FileEntry *e)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (members[i].type != e->type)
			continue;
		if (*(void *const *)((const char *)e + members[i].off))
			return 0;
		return err_say(EINVAL, "files.img: file %u is said to be of type %s and is not described", e->id,
			       members[i].name);
	}
	return err_say(ENOTSUP, "files.img: file %u: files of type %d are not supported yet", e->id, (int)e->type);
}

int check_files(const struct snap *s)
{
	const struct img_msgs *l = &s->list[IMG_FILES];
	int r = 0;

	for (size_t i = 0; r >= 0 && i < l->n; i++) {
		const FileEntry *e = (const FileEntry *)l->v[i].msg;

		if (snap_file(s, e->id) != e)
			return err_say(EINVAL, "files.img: file id %u is there twice", e->id);
		r = check_file(e);
	}
	return r;
}

int check_file_id(const struct snap *s, uint64_t id, const char *what)
{
	if (id > UINT32_MAX || !snap_file(s, (uint32_t)id))
		return err_say(EINVAL, "%s: file id %" PRIu64 " is not in files.img", what, id);
	return 0;
}

static int check_descriptor(const struct snap *s, const FdinfoEntry *d)
{
	const FileEntry *e = snap_file(s, d->id);

	if (d->fd > FD_MOST)
		return err_say(EINVAL, "fd %u: is no descriptor number", d->fd);
	if (!e)
		return err_say(EINVAL, "fd %u: file id %u is not in files.img", d->fd, d->id);
	if (e->type != d->type)
		return err_say(EINVAL, "fd %u: file %u is of type %d in the descriptor table, of type %d in files.img",
			       d->fd, d->id, (int)d->type, (int)e->type);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int check_descriptors(const struct snap *s, const struct snap_task *t)
{
	uint32_t *fds = arena_alloc(s->a, t->nfds * sizeof(*fds) + 1);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < t->nfds; i++) {
		r = check_descriptor(s, t->fds[i]);
		fds[i] = t->fds[i]->fd;
	}
	if (r < 0)
		return r;
	qsort(fds, t->nfds, sizeof(*fds), by_number);
	for (size_t i = 1; i < t->nfds; i++)
		if (fds[i] == fds[i - 1])
			return err_say(EINVAL, "fd %u: is there twice", fds[i]);
	return 0;
}
