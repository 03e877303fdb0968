/* SPDX-License-Identifier: Apache-2.0 */
/* The transaction that a dump is to its image directory (imgdir.h). */
#include <stdio.h>

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

int imgdir_begin(struct imgdir *d)
{
	int r = file_remove(d, INVENTORY);

	if (r >= 0)
		r = file_remove(d, INVENTORY_NEW);
	d->written = NULL;
	d->n_written = 0;
	return r;
}

int imgdir_write_all(struct imgdir *d, enum img_id id, uint64_t num, const struct img_msg *v, size_t n)
{
	written_add(d, id, num);
	return err_ctx(img_write_all(d->dirfd, id, num, v, n), "%s", d->path);
}

int imgdir_write_one(struct imgdir *d, enum img_id id, uint64_t num, const ProtobufCMessage *msg)
{
	written_add(d, id, num);
	return err_ctx(img_write_one(d->dirfd, id, num, msg), "%s", d->path);
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
}
