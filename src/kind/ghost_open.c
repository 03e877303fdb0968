/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleted files at restore (ghost.h). Runs in the engine, single-threaded.
 *
 * An empty file takes the old name, every description of it is opened, the name
 * goes away, and only then the contents are filled in through a descriptor: so
 * a name exists for microseconds, in which killing thaw changes nothing
 * (unbroken.h). All descriptions of one inode are opened in that moment, because
 * later no name leads to it; those asked for later wait in their row.
 * A file that was open by several names gets all of them: /proc/PID/fd shows each
 * description's own.
 *
 * Files made by O_TMPFILE never had a name, and may get one later (linkat): they
 * are made the same way again.
 */
#include "kind/ghost.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kind/borrowed.h"
#include "kind/description.h"
#include "kind/file_place.h"
#include "kind/ghost_image.h"
#include "kind/reg_file.h"
#include "kind/unbroken.h"

struct ghost {
	struct ghost_image img;
	struct ghost_name **names; /* those it has at the moment; the first made it */
	size_t nnames;
};

struct ghost_name {
	const char *want;
	struct borrowed at;
};

static const RegFileEntry *reg_of(struct restoring *r, const struct remap *row)
{
	const FileEntry *e = snap_file(r->snap, row->orig_id);

	return e ? e->reg : NULL;
}

/* A fifo that its entry takes for something else would be opened without end. */
static int type_check(const struct ghost_image *g, const RegFileEntry *m)
{
	mode_t type = (mode_t)g->entry->mode & S_IFMT;

	if (!m)
		return err_say(EINVAL, "remap-fpath.img: deleted file %u has no entry with its name", g->id);
	if (reg_file_type(m) == type || (!m->has_mode && type != S_IFIFO))
		return 0;
	return err_say(EINVAL, "ghost-file-%x.img holds a %s, but %s is none", g->id, file_place_type(type), m->name);
}

int ghost_check(struct restoring *r, const struct remap *row)
{
	struct ghost_image g;
	int err = ghost_image_load(r, row->remap_id, &g);

	if (!err)
		err = type_check(&g, reg_of(r, row));
	return err < 0 ? err : ghost_image_check(&g);
}

/* ---- the name -------------------------------------------------------------------------------- */

/* Returns a descriptor for a regular file, else 0. */
static int inode_make(const char *path, void *arg)
{
	const GhostFileEntry *g = arg;
	int r;

	switch (g->mode & S_IFMT) {
	case S_IFREG:
		r = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		break;
	case S_IFDIR:
		r = mkdir(path, 0700);
		break;
	case S_IFLNK:
		r = symlink(g->symlnk_target, path);
		break;
	default:
		r = mknod(path, (g->mode & S_IFMT) | 0600, g->rdev);
	}
	return r < 0 ? -errno : r;
}

static int inode_link(const char *path, void *arg)
{
	return linkat(AT_FDCWD, arg, AT_FDCWD, path, 0) < 0 ? -errno : 0;
}

static struct ghost_name *name_add(struct ghost *g, const char *want)
{
	struct ghost_name *n = arena_alloc(g->img.r->a, sizeof(*n));

	n->want = want;
	arena_add(g->img.r->a, &g->names, &g->nnames, n);
	return n;
}

/* The path that stands for want, made if the file has it not yet; NULL with a trail. */
static const char *name_take(struct ghost *g, const char *want)
{
	struct ghost_name *n;

	for (size_t i = 0; i < g->nnames; i++)
		if (!strcmp(g->names[i]->want, want))
			return g->names[i]->at.path;
	n = name_add(g, want);
	if (borrowed_take(&n->at, g->img.r->a, want, inode_link, (void *)g->names[0]->at.path) == 0)
		return n->at.path;
	g->nnames--;
	return NULL;
}

static void names_drop(struct ghost *g)
{
	while (g->nnames) {
		struct ghost_name *n = g->names[--g->nnames];

		if (S_ISDIR(g->img.entry->mode))
			rmdir(n->at.path);
		else
			unlink(n->at.path);
		borrowed_drop(&n->at);
	}
}

/* ---- its descriptions ------------------------------------------------------------------------ */

static int row_open_named(struct ghost *g, struct remap *row)
{
	const RegFileEntry *m = reg_of(g->img.r, row);
	const char *path;

	if (!m)
		return err_say(EINVAL, "remap-fpath.img: file %u is no file with a name", row->orig_id);
	path = name_take(g, m->name);
	row->fd = path ? reg_file_open(path, m) : -EIO;
	row->opened = row->fd >= 0;
	return row->fd < 0 ? row->fd : 0;
}

static int rows_open_named(struct ghost *g)
{
	struct remap_table *t = remap_table(g->img.r);
	int err = 0;

	for (size_t i = 0; !err && i < t->n; i++)
		if (t->v[i].type == REMAP_TYPE__GHOST && t->v[i].remap_id == g->img.id)
			err = row_open_named(g, &t->v[i]);
	return err;
}

/* From the first name to the last one gone. Returns a descriptor to fill the file through. */
static int names_live(void *arg)
{
	struct ghost *g = arg;
	struct ghost_name *n = g->names[0];
	int made = borrowed_take(&n->at, g->img.r->a, n->want, inode_make, (void *)g->img.entry), err;
	auto_close int fd = S_ISREG(g->img.entry->mode) ? made : -1;

	if (made < 0)
		return made;
	err = rows_open_named(g);
	if (!err && fd < 0)
		fd = open(n->at.path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (!err && fd < 0)
		err = err_set(errno, "open %s", n->at.path);
	names_drop(g);
	return err < 0 ? err : take_fd(&fd);
}

static int ghost_open_named(struct ghost *g, const char *name)
{
	auto_close int fd = -1;

	name_add(g, name);
	fd = unbroken(names_live, g);
	return fd < 0 ? fd : ghost_image_fill(&g->img, fd);
}

/* ---- files without a name -------------------------------------------------------------------- */

static bool is_nameless(const RegFileEntry *m)
{
	return (m->flags & O_TMPFILE) == O_TMPFILE;
}

static int nameless_make(const char *path, void *arg)
{
	const RegFileEntry *m = arg;
	auto_free char *dir = strndup(path, (size_t)(strrchr(path, '/') - path) + 1);
	int flags = (int)(m->flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC)) | O_CLOEXEC;
	int fd = dir ? open(dir, flags, 0600) : -1;

	return fd < 0 ? -errno : fd;
}

/* The first description makes the file; others are opened anew through its descriptor. */
static int rows_open_nameless(struct ghost *g, struct remap *first, int fd)
{
	struct remap_table *t = remap_table(g->img.r);

	for (size_t i = 0; i < t->n; i++) {
		struct remap *row = &t->v[i];
		char self[64];

		if (row->type != REMAP_TYPE__GHOST || row->remap_id != g->img.id || row == first)
			continue;
		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		row->fd = reg_of(g->img.r, row) ? reg_file_open(self, reg_of(g->img.r, row)) : -EINVAL;
		if (row->fd < 0)
			return row->fd;
		row->opened = true;
	}
	return 0;
}

static int ghost_open_nameless(struct ghost *g, struct remap *first, const RegFileEntry *m)
{
	struct borrowed at;
	auto_close int fd = borrowed_take(&at, g->img.r->a, m->name, nameless_make, (void *)m), fill = -1;
	int err;

	if (fd < 0)
		return fd;
	borrowed_drop(&at);
	err = rows_open_nameless(g, first, fd);
	fill = err < 0 ? -1 : description_reopen(fd, O_RDWR);
	if (err < 0 || fill < 0)
		return err < 0 ? err : fill;
	err = ghost_image_fill(&g->img, fill);
	if (!err && m->pos && lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		err = err_set(errno, "%s: go to position %" PRIu64, m->name, m->pos);
	if (err < 0)
		return err;
	first->fd = take_fd(&fd);
	first->opened = true;
	return 0;
}

/* The row whose description makes the file, if it never had a name. */
static struct remap *nameless_first(struct ghost *g)
{
	struct remap_table *t = remap_table(g->img.r);

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].type == REMAP_TYPE__GHOST && t->v[i].remap_id == g->img.id && reg_of(g->img.r, &t->v[i]) &&
		    is_nameless(reg_of(g->img.r, &t->v[i])))
			return &t->v[i];
	return NULL;
}

static int ghost_open_all(struct restoring *r, struct remap *row)
{
	struct remap *first;
	struct ghost g = { 0 };
	int err = ghost_image_load(r, row->remap_id, &g.img);

	if (err < 0)
		return err;
	first = S_ISREG(g.img.entry->mode) ? nameless_first(&g) : NULL;
	return first ? ghost_open_nameless(&g, first, reg_of(r, first)) : ghost_open_named(&g, reg_of(r, row)->name);
}

int ghost_open(struct restoring *r, struct remap *row)
{
	int err = row->opened ? 0 : ghost_open_all(r, row);

	if (err < 0)
		return err;
	if (row->fd < 0)
		return err_say(EINVAL, "remap-fpath.img: file %u is there twice", row->orig_id);
	return take_fd(&row->fd);
}
