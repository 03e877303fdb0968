/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-on-write memory: which pages of a task are still its parent's.
 *
 * The two have a page in common when the same frame of memory is at the same address
 * of both; pagemap says so, to root, without a byte of it being read. What is found is
 * noted in the page map, run by run. The pages stay stored for both: so whoever reads
 * these images without knowing our notes finds them complete.
 *
 * A frame may be given back and used again while we look (the kernel moves and joins
 * pages as it likes). So the parent is looked at before and after the child: a frame
 * that was the parent's at both times was not the child's alone in between.
 *
 * Runs in the engine, when the page maps are complete and the tree still stands.
 */
#include <fcntl.h>
#include <inttypes.h>

#include "base/cleanup.h"
#include "base/crew.h"
#include "base/io.h"
#include "base/log.h"
#include "dump/dt.h"

/* Pages looked at in one go; runs that lie so near to each other are looked at together, with what is between. */
enum { WINDOW = 2048, NEAR = 512 };

/* Bits of an entry of pagemap: the frame's number (0: the kernel does not tell us), file or shared, present. */
static const uint64_t ENTRY_FRAME = (UINT64_C(1) << 55) - 1, ENTRY_FILE = UINT64_C(1) << 61,
		      ENTRY_PRESENT = UINT64_C(1) << 63;

struct range {
	uint64_t start, end;
};

/* What is seen from address `at` to `end` of a parent, of its child, and of the parent once more. */
struct window {
	uint64_t parent[WINDOW], child[WINDOW], again[WINDOW];
	uint64_t at, end;
};

/* Parent and child, side by side. */
struct pair {
	const struct dump_task *parent, *child;
	struct arena *a;
	int parent_fd, child_fd; /* their pagemaps */
	struct range **same;     /* the result, ascending */
	size_t nsame;
	uint64_t pages;
	bool hidden;
};

static int read_entries(int fd, uint64_t va, uint64_t *entries, size_t n)
{
	ssize_t got = io_pread(fd, entries, n * sizeof(*entries), va / SNAP_PAGE * sizeof(*entries));

	if (got < 0)
		return err_set((int)-got, "read pagemap at %" PRIx64, va);
	for (size_t i = (size_t)got / sizeof(*entries); i < n; i++)
		entries[i] = 0; /* the end of the address space */
	return 0;
}

/* From va on, as far as `end` at most. */
static int look(const struct pair *k, struct window *w, uint64_t va, uint64_t end)
{
	size_t n = (end - va) / SNAP_PAGE < WINDOW ? (end - va) / SNAP_PAGE : WINDOW;
	int err = read_entries(k->parent_fd, va, w->parent, n);

	if (err >= 0)
		err = read_entries(k->child_fd, va, w->child, n);
	if (err >= 0)
		err = read_entries(k->parent_fd, va, w->again, n);
	w->at = va;
	w->end = va + n * SNAP_PAGE;
	return err;
}

static bool is_same(struct pair *k, const struct window *w, size_t i)
{
	const uint64_t all = ENTRY_FRAME | ENTRY_FILE | ENTRY_PRESENT;
	uint64_t e = w->child[i] & all;

	if ((e & (ENTRY_FILE | ENTRY_PRESENT)) != ENTRY_PRESENT)
		return false;
	if (!(e & ENTRY_FRAME))
		k->hidden = true;
	return e & ENTRY_FRAME && e == (w->parent[i] & all) && e == (w->again[i] & all);
}

static void add(struct pair *k, uint64_t va)
{
	struct range *last = k->nsame ? k->same[k->nsame - 1] : NULL;

	k->pages++;
	if (last && last->end == va) {
		last->end += SNAP_PAGE;
		return;
	}
	last = arena_alloc(k->a, sizeof(*last));
	*last = (struct range){ va, va + SNAP_PAGE };
	arena_add(k->a, &k->same, &k->nsame, last);
}

static uint64_t run_end(const PagemapEntry *e)
{
	return e->vaddr + e->nr_pages * SNAP_PAGE;
}

/* The end of run i, or of the last one after it that lies near. */
static uint64_t reach(const struct snap_pages *c, size_t i)
{
	uint64_t va = c->runs[i]->vaddr;

	while (i + 1 < c->nruns && run_end(c->runs[i + 1]) - va <= NEAR * SNAP_PAGE)
		i++;
	return run_end(c->runs[i]);
}

/* From start to end, which are within the child's run i. */
static int compare_range(struct pair *k, struct window *w, uint64_t start, uint64_t end, size_t i)
{
	for (uint64_t va = start; va < end && !k->hidden; va += SNAP_PAGE) {
		int err = va < w->at || va >= w->end ? look(k, w, va, reach(&k->child->t->pages, i)) : 0;

		if (err < 0)
			return err;
		if (is_same(k, w, (va - w->at) / SNAP_PAGE))
			add(k, va);
	}
	return 0;
}

/* All that both have pages for. */
static int compare(struct pair *k)
{
	const struct snap_pages *p = &k->parent->t->pages, *c = &k->child->t->pages;
	struct window w;
	int err = 0;

	w.at = w.end = 0;
	for (size_t i = 0, j = 0; err >= 0 && i < p->nruns && j < c->nruns;) {
		uint64_t start = p->runs[i]->vaddr > c->runs[j]->vaddr ? p->runs[i]->vaddr : c->runs[j]->vaddr;
		uint64_t p_end = run_end(p->runs[i]), c_end = run_end(c->runs[j]);

		err = compare_range(k, &w, start, p_end < c_end ? p_end : c_end, j);
		if (p_end <= c_end)
			i++;
		if (c_end <= p_end)
			j++;
	}
	return err;
}

/* The run e from va to `to`, as a run of its own. */
static void add_run(struct arena *a, struct snap_pages *out, const PagemapEntry *e, uint64_t va, uint64_t to, bool same)
{
	PagemapEntry *part = arena_memdup(a, e, sizeof(*e));

	part->vaddr = va;
	part->nr_pages = (to - va) / SNAP_PAGE;
	part->has_same = part->same = same;
	arena_add(a, &out->runs, &out->nruns, part);
}

/* Cuts the runs so that each is the parent's as a whole, or not at all. */
static void note(const struct pair *k, struct snap_pages *p)
{
	struct snap_pages out = *p;
	size_t at = 0;

	out.runs = NULL;
	out.nruns = 0;
	for (size_t i = 0; i < p->nruns; i++) {
		uint64_t end = run_end(p->runs[i]);

		for (uint64_t va = p->runs[i]->vaddr, to; va < end; va = to) {
			const struct range *r;

			while (at < k->nsame && k->same[at]->end <= va)
				at++;
			r = at < k->nsame && k->same[at]->start < end ? k->same[at] : NULL;
			to = !r ? end : va < r->start ? r->start : r->end < end ? r->end : end;
			add_run(k->a, &out, p->runs[i], va, to, r && va >= r->start);
		}
	}
	*p = out;
}

static int open_pagemap(const struct dump_task *t)
{
	int fd = openat(t->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_set(errno, "open its pagemap") : fd;
}

static int see(void *ctx, size_t i, struct arena *a)
{
	struct pair *k = (struct pair *)ctx + i;
	auto_close int parent_fd = open_pagemap(k->parent), child_fd = parent_fd < 0 ? -1 : open_pagemap(k->child);
	int err = parent_fd < 0 ? parent_fd : child_fd;

	k->a = a;
	k->parent_fd = parent_fd;
	k->child_fd = child_fd;
	if (err >= 0)
		err = compare(k);
	return err_ctx(err, "task %d (%s)", k->child->pid, k->child->stat.comm);
}

static const struct dump_task *find(const struct dump *d, const struct snap_task *t)
{
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		if (d->kinds.tasks[i].t == t)
			return &d->kinds.tasks[i];
	return NULL;
}

static size_t pairs_find(const struct dump *d, struct pair *pairs)
{
	size_t n = 0;

	for (size_t i = 0; i < d->kinds.ntasks; i++) {
		const struct dump_task *t = &d->kinds.tasks[i], *parent = t->t->parent ? find(d, t->t->parent) : NULL;

		if (parent && snap_same_program(parent->t, t->t))
			pairs[n++] = (struct pair){ .parent = parent, .child = t };
	}
	return n;
}

/* Noted is last: the runs of a child are looked at as a parent's, too. */
int sharing_dump(struct dump *d)
{
	struct pair *pairs = arena_alloc(d->kinds.a, d->kinds.ntasks * sizeof(*pairs));
	size_t n = pairs_find(d, pairs);
	int err = crew_finish(crew_start(d->kinds.a, n, see, pairs));
	uint64_t pages = 0;

	for (size_t i = 0; err >= 0 && i < n; i++) {
		struct pair *k = &pairs[i];

		if (k->hidden)
			continue;
		k->a = d->kinds.a;
		k->child->t->pages.compared_with = k->parent->t->pst->pid;
		pages += k->pages;
		if (k->nsame)
			note(k, &k->child->t->pages);
	}
	if (pages)
		log_info("%" PRIu64 " pages are shared with a parent (copy-on-write)", pages);
	return err;
}
