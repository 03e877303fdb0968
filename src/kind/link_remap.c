/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that kept a link elsewhere when their own name went away (link_remap.h). Runs in the engine.
 *
 * The dump leaves a hard link beside the old name, because the other link cannot
 * be found from an open file. It is removed if the dump fails, and by the restore
 * once the tree runs, so that one that fails can be tried again.
 */
#include "kind/link_remap.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "kind/borrowed.h"
#include "kind/file_place.h"
#include "kind/reg_file.h"
#include "kind/unbroken.h"

enum { TRIES = 100 };

static int link_fd(int fd, const char *path)
{
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static void link_remove(void *arg)
{
	unlink(arg);
}

static void entry_add(struct dumping *d, uint32_t id, const char *path, mode_t mode)
{
	FileEntry *e = arena_msg(d->a, file_entry, FileEntry);

	e->type = FD_TYPES__REG;
	e->id = id;
	e->reg = arena_msg(d->a, reg_file_entry, RegFileEntry);
	e->reg->id = id;
	e->reg->fown = arena_msg(d->a, fown_entry, FownEntry);
	e->reg->name = (char *)path;
	e->reg->has_mode = true;
	e->reg->mode = mode;
	snap_add(d->snap, IMG_FILES, &e->base);
}

static int link_make(struct dumping *d, const struct fd_facts *f, const char *name, uint32_t *ret_id)
{
	const char *dir = file_place_dir(d->a, name), *path = name;
	uint32_t id = 0;
	int err = -EEXIST;

	for (int i = 0; err == -EEXIST && i < TRIES; i++) {
		id = dumping_next_id(d);
		path = arena_printf(d->a, "%s/link_remap.%u", dir[1] ? dir : "", id);
		err = link_fd(f->fd, path);
	}
	if (err < 0)
		return err_set(-err, "link %s to %s", path, f->link);
	dumping_undo(d, link_remove, (void *)path);
	entry_add(d, id, path, f->st.st_mode);
	*ret_id = id;
	return 0;
}

int link_remap_dump(struct dumping *d, const struct fd_facts *f, const RegFileEntry *m)
{
	const RemapFilePathEntry *known = remap_known(d, &f->st);
	uint32_t id = known ? known->remap_id : 0;
	int err = 0;

	if (!d->opts->link_remap)
		return err_say(ENOTSUP, "%s: that name was removed, but the file has %lu other: --link-remap carries it over "
			       "by a temporary name beside it", m->name, (unsigned long)f->st.st_nlink);
	if (!known)
		err = link_make(d, f, m->name, &id);
	if (!err)
		remap_add(d, &f->st, m->id, REMAP_TYPE__LINKED, id);
	return err;
}

/* ---- restore --------------------------------------------------------------------------------- */

static const RegFileEntry *link_of(struct restoring *r, const struct remap *row)
{
	const FileEntry *e = snap_file(r->snap, row->remap_id);

	return e ? e->reg : NULL;
}

int link_remap_check(struct restoring *r, const struct remap *row)
{
	const RegFileEntry *l = link_of(r, row);

	if (!l)
		return err_say(EINVAL, "remap-fpath.img: file %u is to be found as file %u, which has no name", row->orig_id,
			       row->remap_id);
	return reg_file_check(l->name, l);
}

static int name_link(const char *path, void *arg)
{
	return linkat(AT_FDCWD, arg, AT_FDCWD, path, 0) < 0 ? -errno : 0;
}

struct linked {
	struct restoring *r;
	const RegFileEntry *file, *link;
};

static int linked_open(void *arg)
{
	const struct linked *l = arg;
	struct borrowed at;
	int fd = borrowed_take(&at, l->r->a, l->file->name, name_link, l->link->name);

	if (fd < 0)
		return fd;
	fd = reg_file_open(at.path, l->file);
	unlink(at.path);
	borrowed_drop(&at);
	return fd;
}

int link_remap_open(struct restoring *r, const struct remap *row)
{
	struct linked l = { r, snap_file(r->snap, row->orig_id)->reg, link_of(r, row) };

	return unbroken(linked_open, &l);
}

bool link_remap_is(struct restoring *r, uint32_t id)
{
	const struct remap_table *t = remap_table(r);

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].type == REMAP_TYPE__LINKED && t->v[i].remap_id == id)
			return true;
	return false;
}

void link_remap_done(struct restoring *r, const RegFileEntry *m)
{
	restoring_done(r, link_remove, m->name);
}
