/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table behind remap-fpath.img (remap.h). Runs in the engine, single-threaded.
 *
 * Several descriptions of one inode must come back as one inode, so at dump the
 * key is device and inode, and at restore all rows with one remap_id go together.
 */
#include "kind/remap.h"

#include <stdlib.h>

/* Images of CRIU before 1.3 have no remap_type: then this bit says ghost. */
static const uint32_t OLD_GHOST_BIT = 1u << 31;

struct inode {
	dev_t dev;
	ino_t ino;
	RemapFilePathEntry *row;
};

struct inodes {
	struct inode **v;
	size_t n;
	uint32_t nghosts;
};

static struct inodes *inodes_of(struct dumping *d)
{
	void **state = &d->kind_state[KIND_STATE_GHOST];

	if (!*state)
		*state = arena_alloc(d->a, sizeof(struct inodes));
	return *state;
}

const RemapFilePathEntry *remap_known(struct dumping *d, const struct stat *st)
{
	struct inodes *t = inodes_of(d);

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i]->dev == st->st_dev && t->v[i]->ino == st->st_ino)
			return t->v[i]->row;
	return NULL;
}

void remap_add(struct dumping *d, const struct stat *st, uint32_t orig_id, RemapType type, uint32_t remap_id)
{
	RemapFilePathEntry *row = arena_msg(d->a, remap_file_path_entry, RemapFilePathEntry);
	struct inodes *t = inodes_of(d);

	row->orig_id = orig_id;
	row->remap_id = remap_id;
	row->has_remap_type = true;
	row->remap_type = type;
	if (!remap_known(d, st)) {
		struct inode one = { .dev = st->st_dev, .ino = st->st_ino, .row = row };

		arena_add(d->a, &t->v, &t->n, arena_memdup(d->a, &one, sizeof(one)));
	}
	snap_add(d->snap, IMG_REMAP_FPATH, &row->base);
}

uint32_t remap_next_ghost(struct dumping *d)
{
	return ++inodes_of(d)->nghosts;
}

/* ---- restore --------------------------------------------------------------------------------- */

static int by_orig_id(const void *a, const void *b)
{
	const struct remap *x = a, *y = b;

	return x->orig_id < y->orig_id ? -1 : x->orig_id > y->orig_id;
}

static struct remap remap_read(const RemapFilePathEntry *row)
{
	struct remap m = { .orig_id = row->orig_id, .remap_id = row->remap_id, .type = row->remap_type, .fd = -1 };

	if (!row->has_remap_type) {
		m.type = row->remap_id & OLD_GHOST_BIT ? REMAP_TYPE__GHOST : REMAP_TYPE__LINKED;
		m.remap_id = row->remap_id & ~OLD_GHOST_BIT;
	}
	return m;
}

struct remap_table *remap_table(struct restoring *r)
{
	const struct img_msgs *rows = &r->snap->list[IMG_REMAP_FPATH];
	struct remap_table *t = r->kind_state[KIND_STATE_GHOST];

	if (t)
		return t;
	r->kind_state[KIND_STATE_GHOST] = t = arena_alloc(r->a, sizeof(*t));
	t->v = arena_alloc(r->a, (rows->n + 1) * sizeof(*t->v));
	for (t->n = 0; t->n < rows->n; t->n++)
		t->v[t->n] = remap_read((const RemapFilePathEntry *)rows->v[t->n].msg);
	qsort(t->v, t->n, sizeof(*t->v), by_orig_id);
	return t;
}

struct remap *remap_of(struct restoring *r, uint32_t file_id)
{
	struct remap_table *t = remap_table(r);
	struct remap key = { .orig_id = file_id };

	return t->n ? bsearch(&key, t->v, t->n, sizeof(*t->v), by_orig_id) : NULL;
}
