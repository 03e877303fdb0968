/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fifo: a pipe with a name. Runs in the engine.
 *
 * Two entries belong together: this one says which pipe it is, a file entry has
 * the name, flags and owner. At restore that file entry is opened as a name only
 * (O_PATH), and the fifo through it, without blocking, because a descriptor of
 * our own holds both ends meanwhile.
 *
 * A reader that was opened when there was no writer does not have POLLHUP until
 * one came and went; with our own write end it would have. So when the tree has
 * neither writers nor data, readers are opened without it.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kind/description.h"
#include "kind/pipe_data.h"
#include "kind/reg_file.h"

static bool fifo_match(const struct fd_facts *f)
{
	return S_ISFIFO(f->st.st_mode) && f->fs_magic != PIPEFS_MAGIC && !(f->flags & O_PATH);
}

static int fifo_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	struct pipe_object *o = pipe_table_inode(d, f, true);
	FileEntry *name = arena_msg(d->a, file_entry, FileEntry);
	int err;

	name->type = FD_TYPES__REG;
	name->id = dumping_next_id(d);
	err = reg_file_dump(d, f, name->id, &name->reg);
	if (err < 0)
		return err;
	name->reg->pos = 0;
	snap_add(d->snap, IMG_FILES, &name->base);
	e->fifo = arena_msg(d->a, fifo_entry, FifoEntry);
	e->fifo->id = e->id;
	e->fifo->pipe_id = o->pipe_id;
	e->fifo->has_regf_id = true;
	e->fifo->regf_id = name->id;
	return pipe_data_see(d, o, f);
}

static int fifo_finish(struct dumping *d)
{
	return pipe_data_finish(d, true);
}

static const RegFileEntry *name_of(struct restoring *r, const FileEntry *e)
{
	const FileEntry *name = snap_file(r->snap, e->fifo->regf_id);

	return name && name->type == FD_TYPES__REG ? name->reg : NULL;
}

static int fifo_check(struct restoring *r, const FileEntry *e)
{
	const RegFileEntry *m;

	if (!e->fifo || !e->fifo->has_regf_id)
		return err_say(EINVAL, "the entry has no fifo with a name in it");
	m = name_of(r, e);
	if (!m)
		return err_say(EINVAL, "its name should be in file %u, which is no such entry", e->fifo->regf_id);
	return reg_file_type(m) == S_IFIFO ? 0 : err_say(EINVAL, "%s is not known as a fifo", m->name);
}

static int fifo_hold(struct pipe_object *o, int name_fd, const char *name)
{
	int len;

	o->end[0] = description_reopen(name_fd, O_RDWR | O_NONBLOCK);
	if (o->end[0] < 0)
		return o->end[0];
	if (ioctl(o->end[0], FIONREAD, &len) == 0 && len)
		return err_say(EBUSY, "%s already holds %d bytes: somebody else uses it", name, len);
	return pipe_data_put(o, o->end[0]);
}

static bool needs_hold(const struct pipe_object *o)
{
	return o->end[0] < 0 && (o->writes || (o->data && o->data->payload_len));
}

static int fifo_open(struct restoring *r, const FileEntry *e)
{
	struct pipe_object *o = pipe_table_id(r, e->fifo->pipe_id, true);
	const RegFileEntry *m = name_of(r, e);
	int name_fd = restoring_fd(r, e->fifo->regf_id);
	auto_close int fd = -1;
	int err = name_fd < 0 ? name_fd : 0;

	if (!err && m->flags & O_PATH)
		return description_reopen(name_fd, O_PATH); /* CRIU knows a mere name of a fifo as a fifo, too */
	if (!err && needs_hold(o))
		err = fifo_hold(o, name_fd, m->name);
	if (err < 0)
		return err;
	fd = description_reopen(name_fd, (m->flags & O_ACCMODE) | O_NONBLOCK);
	if (fd >= 0 && o->end[0] < 0)
		err = pipe_data_put(o, fd);
	if (fd < 0 || err < 0)
		return fd < 0 ? fd : err;
	err = description_flags(fd, m->flags);
	return err < 0 ? err : take_fd(&fd);
}

static int fifo_link(struct restoring *r, const FileEntry *e, int fd)
{
	struct pipe_object *o = pipe_table_id(r, e->fifo->pipe_id, true);

	(void)fd;
	if (o->end[0] >= 0)
		close(take_fd(&o->end[0]));
	return 0;
}

static int fifo_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	if (name_of(r, e)->fown)
		description_owner(name_of(r, e)->fown, tfd, p);
	description_async(name_of(r, e)->flags, tfd, p);
	return 0;
}

static void fifo_describe(const FileEntry *e, char *text, size_t len)
{
	if (e->fifo)
		snprintf(text, len, "fifo %u, name in file %u", e->fifo->pipe_id, e->fifo->regf_id);
}

const struct kind_fd kind_fd_fifo = {
	.name = "fifo",
	.type = FD_TYPES__FIFO,
	.match = fifo_match,
	.dump = fifo_dump,
	.finish = fifo_finish,
	.rank = 1,
	.check = fifo_check,
	.open = fifo_open,
	.link = fifo_link,
	.emit = fifo_emit,
	.describe = fifo_describe,
};
