/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Incremental images: in which file of the chain of directories every page lies.
 *
 * A run with PE_PARENT says that its pages are those of the same object (the same
 * page map by name) in the parent directory, where they may in turn be the
 * grandparent's. Everything is resolved here, before anything is created: behind
 * this there are extents (file, offset), and nobody else knows of parents.
 *
 * A parent's page maps are read only if somebody refers to them, and checked as
 * the image's own are: each is sorted, and its pages file as long as it says.
 */
#include <inttypes.h>

#include "img/imgdir.h"
#include "snap/check.h"
#include "snap/load.h"

/* The page map of one object in one directory, as a table to look up addresses in. */
struct level {
	const struct imgdir *dir;
	struct snap_pages map; /* of the image directory itself: a copy of the object's */
	uint64_t *offs;        /* by run: where its bytes begin in the pages file; NULL: not loaded */
	size_t at;             /* the first run that is not behind us: addresses are asked for in ascending order */
	uint32_t source;       /* number + 1 in sources; 0: none of its pages were needed so far */
};

struct chain {
	struct arena *a;
	enum img_id id;
	uint64_t num;
	struct level *level;
	size_t nlevels;
	struct snap_pages *out;
	size_t extents_cap;
};

static uint64_t run_end(const PagemapEntry *e)
{
	return e->vaddr + e->nr_pages * SNAP_PAGE;
}

static void level_index(const struct chain *c, struct level *l)
{
	uint64_t off = 0;

	l->offs = arena_alloc(c->a, l->map.nruns * sizeof(*l->offs) + 1);
	for (size_t i = 0; i < l->map.nruns; i++) {
		l->offs[i] = off;
		if (l->map.runs[i]->flags & PE_PRESENT)
			off += l->map.runs[i]->nr_pages * SNAP_PAGE;
	}
}

static int level_load(const struct chain *c, struct level *l)
{
	int r;

	if (l->offs)
		return 0;
	r = load_pages(c->a, l->dir->dirfd, c->id, c->num, &l->map);
	if (r >= 0)
		r = check_pages(&l->map);
	if (r >= 0)
		level_index(c, l);
	return err_ctx(r, "%s", l->dir->path);
}

/* The first run that ends behind va. */
static size_t run_behind(struct level *l, uint64_t va)
{
	while (l->at < l->map.nruns && run_end(l->map.runs[l->at]) <= va)
		l->at++;
	return l->at;
}

static void extent_add(struct chain *c, size_t depth, uint64_t va, uint64_t len, uint64_t off)
{
	struct snap_pages *p = c->out;
	struct level *l = &c->level[depth];
	struct snap_extent *more;

	if (!l->source) {
		struct snap_source *s = arena_alloc(c->a, (p->nsources + 1) * sizeof(*s));

		for (size_t i = 0; i < p->nsources; i++)
			s[i] = p->sources[i];
		s[p->nsources] = (struct snap_source){ (uint32_t)depth, l->map.pages_id };
		p->sources = s;
		l->source = (uint32_t)++p->nsources;
	}
	if (p->nextents == c->extents_cap) {
		c->extents_cap = c->extents_cap ? 2 * c->extents_cap : p->nruns + 1;
		more = arena_alloc(c->a, c->extents_cap * sizeof(*more));
		for (size_t i = 0; i < p->nextents; i++)
			more[i] = p->extents[i];
		p->extents = more;
	}
	p->extents[p->nextents++] = (struct snap_extent){ va, len, off, l->source - 1 };
}

static int refuse_absent(const struct chain *c, size_t depth, uint64_t va)
{
	char name[IMG_NAME_LEN];

	img_name(name, c->id, c->num);
	if (depth == c->nlevels)
		return err_say(EINVAL, "%s/%s: the page at %" PRIx64 " is said to be in the parent's images, but there is no parent",
			       c->level[depth - 1].dir->path, name, va);
	return err_say(EINVAL, "%s/%s: has no page at %" PRIx64 ", which the images that build upon it leave to it",
		       c->level[depth].dir->path, name, va);
}

/* All of [va, end), from the page map at this depth on. */
static int resolve(struct chain *c, size_t depth, uint64_t va, uint64_t end)
{
	struct level *l = &c->level[depth];
	int r = depth < c->nlevels ? level_load(c, l) : refuse_absent(c, depth, va);

	for (size_t i = r < 0 ? 0 : run_behind(l, va); r >= 0 && va < end; i++) {
		const PagemapEntry *e = i < l->map.nruns ? l->map.runs[i] : NULL;
		uint64_t to;

		if (!e || e->vaddr > va)
			return refuse_absent(c, depth, va);
		to = run_end(e) < end ? run_end(e) : end;
		if (e->flags & PE_PRESENT)
			extent_add(c, depth, va, to - va, l->offs[i] + (va - e->vaddr));
		else
			r = resolve(c, depth + 1, va, to);
		va = to;
	}
	return r;
}

static int object_chain(struct arena *a, const struct imgdir *dir, enum img_id id, uint64_t num, struct snap_pages *p)
{
	struct chain c = { .a = a, .id = id, .num = num, .out = p, .nlevels = imgdir_depth(dir) };
	int r = 0;

	c.level = arena_alloc(a, c.nlevels * sizeof(*c.level));
	for (size_t i = 0; i < c.nlevels; i++, dir = dir->parent)
		c.level[i].dir = dir;
	c.level[0].map = *p;
	level_index(&c, &c.level[0]);
	p->nextents = p->nsources = 0;
	for (size_t i = 0; r >= 0 && i < p->nruns; i++)
		r = resolve(&c, 0, p->runs[i]->vaddr, run_end(p->runs[i]));
	return r;
}

int snap_chain(struct snap *s, const struct imgdir *dir)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->ntasks; i++)
		r = object_chain(s->a, dir, IMG_PAGEMAP, s->tasks[i]->pst->pid, &s->tasks[i]->pages);
	for (size_t i = 0; r >= 0 && i < s->nshmem; i++)
		r = object_chain(s->a, dir, IMG_PAGEMAP_SHMEM, s->shmem[i]->shmid, &s->shmem[i]->pages);
	return r;
}

int snap_chain_of(const struct imgdir *dir, enum img_id id, uint64_t num, struct arena *a, struct snap_pages *ret)
{
	int r = load_pages(a, dir->dirfd, id, num, ret);

	if (r == -ENOENT && !ret->runs) {
		*ret = (struct snap_pages){ 0 };
		return 0;
	}
	if (r >= 0)
		r = check_pages(ret);
	err_ctx(r, "%s", dir->path);
	return r < 0 ? r : object_chain(a, dir, id, num, ret);
}

uint64_t snap_chain_bytes(const struct snap_pages *p)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < p->nextents; i++)
		bytes += p->extents[i].len;
	return bytes;
}
