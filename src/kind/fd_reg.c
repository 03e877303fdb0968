/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are found by a name: regular files, directories, symbolic links
 * (O_PATH), devices without state, and whatever is open only as a name (O_PATH).
 * Runs in the engine, except for files of /proc/PID (proc_file.h).
 *
 * Most of it is said elsewhere: how the entry and the open file correspond
 * (reg_file.c), files whose name is gone (ghost.c, link_remap.c).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "kind/description.h"
#include "kind/file_locks.h"
#include "kind/file_place.h"
#include "kind/ghost.h"
#include "kind/link_remap.h"
#include "kind/proc_file.h"
#include "kind/reg_file.h"

enum { MAJOR_MEM = 1, MAJOR_TTY = 4, MAJOR_TTYAUX = 5, MAJOR_PTS = 136, MAJOR_PTS_LAST = 143 };

static bool is_tty(dev_t dev)
{
	return major(dev) == MAJOR_TTY || major(dev) == MAJOR_TTYAUX ||
	       (major(dev) >= MAJOR_PTS && major(dev) <= MAJOR_PTS_LAST);
}

/* null, zero, full, random, urandom: nothing is remembered between two opens. */
static bool is_stateless(dev_t dev)
{
	static const unsigned minors[] = { 3, 5, 7, 8, 9 };

	for (size_t i = 0; major(dev) == MAJOR_MEM && i < sizeof(minors) / sizeof(minors[0]); i++)
		if (minor(dev) == minors[i])
			return true;
	return false;
}

static bool reg_match(const struct fd_facts *f)
{
	mode_t type = f->st.st_mode & S_IFMT;

	if (f->link[0] != '/' || !strncmp(f->link, "/memfd:", 7))
		return false;
	if (f->fs_magic == NSFS_MAGIC || f->fs_magic == SECRETMEM_MAGIC)
		return false;
	if (f->flags & O_PATH)
		return true;
	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFBLK ||
	       (type == S_IFCHR && !is_tty(f->st.st_rdev));
}

static bool is_gpu(const char *path)
{
	return !strncmp(path, "/dev/nvidia", 11);
}

/* A child that a CUDA process has forked can only close its descriptors: they come back as mere names. */
static int gpu_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	int err;

	if (!f->gpu_heir)
		return err_say(ENOTSUP, "%s is open, and the driver's checkpoint does not cover it (OpenGL, Vulkan, NVML, or a "
			       "descriptor of a CUDA process outside of the tree): it must be closed before the dump", f->link);
	err = reg_file_dump(d, f, e->id, &e->reg);
	if (err >= 0)
		e->reg->flags |= O_PATH;
	return err;
}

static int reg_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	mode_t type = f->st.st_mode & S_IFMT;

	if (is_gpu(f->link) && !(f->flags & O_PATH))
		return gpu_dump(d, f, e);
	if (!(f->flags & O_PATH) && (type == S_IFBLK || (type == S_IFCHR && !is_stateless(f->st.st_rdev))))
		return err_say(ENOTSUP, "%s (%s %u:%u) is not supported yet", f->link, file_place_type(type),
			       major(f->st.st_rdev), minor(f->st.st_rdev));
	return reg_file_dump(d, f, e->id, &e->reg);
}

static int reg_finish(struct dumping *d)
{
	int err = proc_file_finish(d);

	return err < 0 ? err : file_locks_dump(d);
}

static int reg_check(struct restoring *r, const FileEntry *e)
{
	const struct remap *row = remap_of(r, e->id);

	if (!e->reg)
		return err_say(EINVAL, "the entry has no file in it");
	if (e->reg->has_ext && e->reg->ext)
		return err_say(ENOTSUP, "%s comes from outside (--external), which is not supported yet", e->reg->name);
	if (row && row->type == REMAP_TYPE__GHOST)
		return ghost_check(r, row);
	if (row && row->type == REMAP_TYPE__LINKED)
		return link_remap_check(r, row);
	if (row)
		return err_say(ENOTSUP, "%s: a file of a task that had ended is not supported yet", e->reg->name);
	if (is_gpu(e->reg->name) && access(e->reg->name, F_OK) < 0)
		return err_say(ENOENT, "%s, which a child of a CUDA process has inherited open, is not in this machine",
			       e->reg->name);
	return proc_file_is(e->reg) ? proc_file_check(r, e->reg) : reg_file_check(e->reg->name, e->reg);
}

static int reg_open(struct restoring *r, const FileEntry *e)
{
	struct remap *row = remap_of(r, e->id);
	int fd;

	if (row)
		return row->type == REMAP_TYPE__GHOST ? ghost_open(r, row) : link_remap_open(r, row);
	if (proc_file_is(e->reg))
		return proc_file_open();
	if (!link_remap_is(r, e->id))
		return reg_file_open(e->reg->name, e->reg);
	fd = open(e->reg->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_set(errno, "open %s", e->reg->name) : fd;
}

static int reg_link(struct restoring *r, const FileEntry *e, int fd)
{
	(void)fd;
	if (link_remap_is(r, e->id))
		link_remap_done(r, e->reg);
	return 0;
}

static int reg_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	int err = proc_file_is(e->reg) ? proc_file_emit(r, e->reg, tfd, p) : 0;

	if (!err && !(e->reg->flags & O_PATH) && e->reg->fown)
		description_owner(e->reg->fown, tfd, p);
	return err;
}

static void reg_describe(const FileEntry *e, char *text, size_t len)
{
	static const char *const access[] = { "read", "write", "read and write", "no access" };

	if (!e->reg)
		return;
	if (e->reg->flags & O_PATH)
		snprintf(text, len, "%s, name only", e->reg->name);
	else
		snprintf(text, len, "%s, %s%s, at %" PRIu64, e->reg->name, access[e->reg->flags & O_ACCMODE],
			 e->reg->flags & O_APPEND ? ", append" : "", e->reg->pos);
}

const struct kind_fd kind_fd_reg = {
	.name = "file",
	.type = FD_TYPES__REG,
	.match = reg_match,
	.dump = reg_dump,
	.finish = reg_finish,
	.check = reg_check,
	.open = reg_open,
	.link = reg_link,
	.emit = reg_emit,
	.describe = reg_describe,
};
