/* SPDX-License-Identifier: Apache-2.0 */
/* The open files of a restore (rfiles.h). Runs in the engine, single-threaded. */
#include "restore/rfiles.h"

#include <fcntl.h>
#include <unistd.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/undo.h"
#include "kind/terminal.h"

enum { RANKS = 4, ENGINE_FDS = 256 };

static const struct img_msgs *entries(const struct restoring *r)
{
	return &r->snap->list[IMG_FILES];
}

static const FileEntry *entry(const struct restoring *r, size_t i)
{
	return (const FileEntry *)entries(r)->v[i].msg;
}

int rfiles_init(struct restoring *r)
{
	struct rfiles *f = r->files;
	uint32_t top = 2, ids = 0;
	struct rlimit lim;

	for (size_t i = 0; i < r->snap->ntasks; i++)
		for (size_t k = 0; k < r->snap->tasks[i]->nfds; k++)
			if (r->snap->tasks[i]->fds[k]->fd > top)
				top = r->snap->tasks[i]->fds[k]->fd;
	for (size_t i = 0; i < entries(r)->n; i++)
		if (entry(r, i)->id > ids)
			ids = entry(r, i)->id;
	if (ids > (1 << 24))
		return err_say(EINVAL, "files.img: file id %u is out of range", ids);
	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return err_set(errno, "getrlimit");
	lim.rlim_cur = lim.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		return err_set(errno, "raise the soft limit of open files");
	if (top >= lim.rlim_max || lim.rlim_max - top < entries(r)->n + 64)
		return err_say(EMFILE,
			       "the image has descriptor %u and %zu open files, but no more than %llu descriptors are allowed: raise the hard limit (ulimit -Hn)",
			       top, entries(r)->n, (unsigned long long)lim.rlim_max);
	/* with some room for the engine's own between, as far as the limit allows */
	f->base = (int)(top < ENGINE_FDS && lim.rlim_max > ENGINE_FDS + 64 + entries(r)->n ? ENGINE_FDS : top + 1);
	f->nids = ids + 1;
	f->fd_of = arena_alloc(r->a, f->nids * sizeof(*f->fd_of));
	f->opening = arena_alloc(r->a, f->nids * sizeof(*f->opening));
	for (uint32_t i = 0; i < f->nids; i++)
		f->fd_of[i] = -1;
	return 0;
}

static int refuse(const FileEntry *e)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(&fd_types__descriptor, (int)e->type);

	if (!v)
		return err_say(ENOTSUP, "file %u: files of type %d are not supported yet", e->id, (int)e->type);
	return err_say(ENOTSUP, "file %u: files of type %s are not supported yet", e->id, v->name);
}

static int in_entry(int err, const struct kind_fd *k, const FileEntry *e)
{
	return err_ctx(err, "file %u (%s)", e->id, k ? k->name : "?");
}

int rfiles_check(struct restoring *r)
{
	for (size_t i = 0; i < entries(r)->n; i++) {
		const FileEntry *e = entry(r, i);
		const struct kind_fd *k = kind_fd_of(e->type);
		int err = 0;

		if (!k || !k->open)
			return refuse(e);
		if (k->check && !terminal_has_name(r->snap, e->id))
			err = in_entry(k->check(r, e), k, e);
		if (err < 0)
			return err;
	}
	return 0;
}

int restoring_adopt(struct restoring *r, int fd)
{
	auto_close int old = fd;
	int high;

	if (fd >= r->files->base)
		return take_fd(&old);
	high = fcntl(fd, F_DUPFD, r->files->base);
	if (high < 0)
		return err_set(errno, "keep descriptor %d", fd);
	return high;
}

static int open_entry(struct restoring *r, const FileEntry *e)
{
	const struct kind_fd *k = kind_fd_of(e->type);
	int fd;

	if (r->files->fd_of[e->id] >= 0)
		return r->files->fd_of[e->id];
	if (!k || !k->open)
		return refuse(e);
	if (r->files->stand_in)
		return r->files->base + (int)e->id;
	if (r->files->opening[e->id])
		return err_say(EINVAL, "file %u refers to itself", e->id);
	r->files->opening[e->id] = true;
	fd = k->open(r, e);
	if (fd >= 0)
		fd = restoring_adopt(r, fd);
	r->files->opening[e->id] = false;
	if (fd < 0)
		return in_entry(fd, k, e);
	log_debug("file %u: %s at %d", e->id, k->name, fd);
	return r->files->fd_of[e->id] = fd;
}

int restoring_fd(struct restoring *r, uint32_t file_id)
{
	const FileEntry *e = snap_file(r->snap, file_id);

	if (!e)
		return err_say(EINVAL, "file id %u is not in files.img", file_id);
	return open_entry(r, e);
}

int rfiles_open(struct restoring *r)
{
	for (int rank = 0; rank < RANKS; rank++)
		for (size_t i = 0; i < entries(r)->n; i++) {
			const FileEntry *e = entry(r, i);
			const struct kind_fd *k = kind_fd_of(e->type);
			bool skip = (k && k->rank != rank) || terminal_has_name(r->snap, e->id);
			int fd = skip ? 0 : open_entry(r, e);

			if (fd < 0)
				return fd;
		}
	for (size_t i = 0; i < entries(r)->n; i++) {
		const FileEntry *e = entry(r, i);
		const struct kind_fd *k = kind_fd_of(e->type);
		int fd = r->files->fd_of[e->id];
		int err = k->link && fd >= 0 ? in_entry(k->link(r, e, fd), k, e) : 0;

		if (err < 0)
			return err;
	}
	return 0;
}

void rfiles_release(struct restoring *r)
{
	for (uint32_t i = 0; i < r->files->nids; i++)
		if (r->files->fd_of[i] >= 0)
			close(take_fd(&r->files->fd_of[i]));
}

void rfiles_close(struct restoring *r)
{
	if (r->files->base)
		close_range((unsigned)r->files->base, ~0u, 0);
}

void restoring_undo(struct restoring *r, void (*fn)(void *arg), void *arg)
{
	undo_push(r->undo, fn, arg);
}

void restoring_done(struct restoring *r, void (*fn)(void *arg), void *arg)
{
	undo_push(r->done, fn, arg);
}
