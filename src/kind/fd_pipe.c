/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipe: a queue with two ends, each a description of its own. Runs in the engine.
 *
 * The first end that is asked for makes the pipe. The descriptions that pipe(2)
 * makes lack O_LARGEFILE; an end that has it was opened through /proc once, and
 * is so again. Our own two ends are closed when all others are open, so that
 * end of file and EPIPE come when they should.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kind/description.h"
#include "kind/pipe_data.h"

/* O_LARGEFILE as the kernel shows it; libc has 0 here. */
enum { LARGEFILE = 0100000 };

static bool pipe_match(const struct fd_facts *f)
{
	return S_ISFIFO(f->st.st_mode) && f->fs_magic == PIPEFS_MAGIC;
}

static int pipe_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	struct pipe_object *o = pipe_table_inode(d, f, false);

	if (f->flags & O_PATH)
		return err_say(ENOTSUP, "%s: a pipe opened with O_PATH is not supported yet", f->link);
	e->pipe = arena_msg(d->a, pipe_entry, PipeEntry);
	e->pipe->id = e->id;
	e->pipe->pipe_id = o->pipe_id;
	e->pipe->flags = f->flags;
	e->pipe->fown = dumping_fown(d, f->fd);
	return pipe_data_see(d, o, f);
}

static int pipe_finish(struct dumping *d)
{
	return pipe_data_finish(d, false);
}

static int pipe_check(struct restoring *r, const FileEntry *e)
{
	(void)r;
	if (!e->pipe)
		return err_say(EINVAL, "the entry has no pipe in it");
	if ((e->pipe->flags & O_ACCMODE) == O_ACCMODE)
		return err_say(EINVAL, "a pipe end with access mode 3");
	return 0;
}

static int pipe_make(struct pipe_object *o)
{
	if (pipe2(o->end, O_CLOEXEC) < 0)
		return err_set(errno, "pipe()");
	if (o->has_owner && fchown(o->end[0], o->uid, o->gid) < 0)
		return err_set(errno, "give the pipe to user %u", o->uid);
	return pipe_data_put(o, o->end[1]);
}

static int end_open(struct pipe_object *o, uint32_t flags)
{
	unsigned which = flags & O_ACCMODE;
	int fd;

	if (which > 1 || o->used[which] || flags & LARGEFILE)
		return description_reopen(o->end[0], flags & (O_ACCMODE | O_NONBLOCK));
	o->used[which] = true;
	fd = fcntl(o->end[which], F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? err_set(errno, "duplicate a pipe's end") : fd;
}

static int pipe_open(struct restoring *r, const FileEntry *e)
{
	struct pipe_object *o = pipe_table_id(r, e->pipe->pipe_id, false);
	auto_close int fd = -1;
	int err = o->end[0] < 0 ? pipe_make(o) : 0;

	if (err < 0)
		return err;
	fd = end_open(o, e->pipe->flags);
	err = fd < 0 ? fd : description_flags(fd, e->pipe->flags);
	return err < 0 ? err : take_fd(&fd);
}

static int pipe_link(struct restoring *r, const FileEntry *e, int fd)
{
	struct pipe_object *o = pipe_table_id(r, e->pipe->pipe_id, false);

	(void)fd;
	for (int i = 0; i < 2; i++)
		if (o->end[i] >= 0)
			close(take_fd(&o->end[i]));
	return 0;
}

static int pipe_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	if (e->pipe->fown)
		description_owner(e->pipe->fown, tfd, p);
	description_async(e->pipe->flags, tfd, p);
	return 0;
}

static void pipe_describe(const FileEntry *e, char *text, size_t len)
{
	static const char *const end[] = { "read end", "write end", "both ends", "no end" };

	if (e->pipe)
		snprintf(text, len, "pipe %u, %s%s", e->pipe->pipe_id, end[e->pipe->flags & O_ACCMODE],
			 e->pipe->flags & O_DIRECT ? ", packets" : "");
}

const struct kind_fd kind_fd_pipe = {
	.name = "pipe",
	.type = FD_TYPES__PIPE,
	.match = pipe_match,
	.dump = pipe_dump,
	.finish = pipe_finish,
	.check = pipe_check,
	.open = pipe_open,
	.link = pipe_link,
	.emit = pipe_emit,
	.describe = pipe_describe,
};
