/* SPDX-License-Identifier: Apache-2.0 */
/* The transaction that a dump is to its image directory (imgdir.h). */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "img/img_type.h"
#include "img/imgdir.h"

/* Not a name of images.tbl: nobody takes it for an image. */
#define INVENTORY_NEW "inventory.img.new"
#define INVENTORY     "inventory.img"

static int file_remove(const struct imgdir *d, const char *name)
{
	if (unlinkat(d->dirfd, name, 0) < 0 && errno != ENOENT)
		return err_set(errno, "%s/%s: remove", d->path, name);
	return 0;
}

/* Remembered before it is made: one that fails half-way is removed as well. */
static void written_add(struct imgdir *d, enum img_id id, uint64_t num)
{
	char name[IMG_NAME_LEN];

	arena_add(d->a, &d->written, &d->n_written, arena_strdup(d->a, img_name(name, id, num)));
}

static bool is_same(const struct imgdir *a, const struct imgdir *b)
{
	struct stat x, y;

	return !fstat(a->dirfd, &x) && !fstat(b->dirfd, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* The images to build upon; nothing is changed. */
static int parent_find(struct imgdir *d, const char *prev)
{
	int r = imgdir_open(d->dirfd, prev, d->a, &d->parent);

	if (r < 0 || !d->parent)
		return r;
	for (const struct imgdir *p = d->parent; p; p = p->parent)
		if (is_same(d, p))
			return err_say(ELOOP, "%s: builds upon %s itself", prev, d->path);
	if (faccessat(d->parent->dirfd, INVENTORY, F_OK, 0) < 0)
		return err_say(ENOENT, "%s: is not an image directory of CRIU or thaw: it has no " INVENTORY, prev);
	return 0;
}

/* The link goes where the images say that their parent is. */
static int parent_link(struct imgdir *d, const char *prev)
{
	int r = file_remove(d, "parent");

	if (r >= 0 && prev && symlinkat(prev, d->dirfd, "parent") < 0)
		return err_set(errno, "%s/parent: make the link", d->path);
	d->linked = r >= 0 && prev;
	return r;
}

int imgdir_make(const char *path, const char *prev, struct arena *a, struct imgdir **ret)
{
	struct imgdir *d = arena_alloc(a, sizeof(*d));
	int r = 0;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(errno, "make the directory %s", path);
	*d = (struct imgdir){ .path = arena_strdup(a, path), .a = a };
	d->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dirfd < 0)
		return err_set(errno, "%s: open", path);
	if (prev)
		r = err_ctx(parent_find(d, prev), "--prev-images-dir");
	if (r >= 0)
		r = imgdir_begin(d);
	if (r >= 0)
		r = parent_link(d, prev);
	if (r < 0)
		imgdir_close(d);
	else
		*ret = d;
	return r;
}

int imgdir_begin(struct imgdir *d)
{
	int r = file_remove(d, INVENTORY);

	if (r >= 0)
		r = file_remove(d, INVENTORY_NEW);
	d->written = NULL;
	d->n_written = 0;
	return r;
}

struct orders {
	const struct imgdir *d;
	const struct imgdir_order *v;
};

static int order_write(void *ctx, size_t i, struct arena *a)
{
	const struct orders *o = ctx;
	const struct imgdir_order *f = &o->v[i];

	(void)a;
	return err_ctx(img_write_all(o->d->dirfd, f->id, f->num, f->v, f->n), "%s", o->d->path);
}

struct crew *imgdir_write_begin(struct imgdir *d, const struct imgdir_order *v, size_t n)
{
	struct orders *o = arena_alloc(d->a, sizeof(*o));

	*o = (struct orders){ d, v };
	for (size_t i = 0; i < n; i++)
		written_add(d, v[i].id, v[i].num);
	return crew_start(d->a, n, order_write, o);
}

int imgdir_write_each(struct imgdir *d, const struct imgdir_order *v, size_t n)
{
	return crew_finish(imgdir_write_begin(d, v, n));
}

int imgdir_create(struct imgdir *d, enum img_id id, uint64_t num)
{
	written_add(d, id, num);
	return err_ctx(img_create(d->dirfd, id, num), "%s", d->path);
}

int imgdir_commit(struct imgdir *d, const InventoryEntry *inventory)
{
	int r = img_write_as(d->dirfd, INVENTORY_NEW, IMG_INVENTORY, &inventory->base);

	if (r >= 0 && renameat(d->dirfd, INVENTORY_NEW, d->dirfd, INVENTORY) < 0)
		r = err_set(errno, "%s: rename to %s", INVENTORY_NEW, INVENTORY);
	return err_ctx(r, "%s", d->path);
}

void imgdir_abort(struct imgdir *d)
{
	unlinkat(d->dirfd, INVENTORY, 0);
	unlinkat(d->dirfd, INVENTORY_NEW, 0);
	for (size_t i = 0; i < d->n_written; i++)
		unlinkat(d->dirfd, d->written[i], 0);
	d->n_written = 0;
	if (d->linked)
		unlinkat(d->dirfd, "parent", 0);
	d->linked = false;
}
