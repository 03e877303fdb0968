/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-on-write memory (heritage.h). Planned in the engine, before addresses are chosen.
 *
 * Which pages two tasks have in common. thaw's own images say it, page by page, of a task
 * and its parent (dump/sharing.c). Of other images nobody knows: there, two tasks that
 * come out of one execve() are taken to be related, and what both have at one address is
 * compared when it is filled.
 *
 * What is kept. A mapping cannot be kept if it is of another nature than the creator's at
 * that address; what can be changed later (protection, most advice, locks, the name) does not
 * matter. Mappings without a common page are made anew. A stack is kept as a whole or not at
 * all: in two pieces it could not grow.
 *
 * Images are untrusted: a page that is said to be the creator's is only taken to be so if the
 * creator has a page there.
 */
#include "restore/heritage.h"

#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "kern/maps.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

struct ranges {
	struct pie_iov *v;
	size_t n, cap;
	uint64_t bytes;
};

/* Two tasks, side by side. */
struct pair {
	struct arena *a;
	const struct snap_task *from, *to;
	bool known;                   /* the image says which pages are the same */
	size_t from_at, to_at;        /* first run that does not lie behind us, of each */
	struct ranges same, compare, drop;
	struct heirloom *kept;
	size_t nkept;
};

static void add(struct arena *a, struct ranges *r, uint64_t va, uint64_t end)
{
	struct pie_iov *last = r->n ? &r->v[r->n - 1] : NULL;

	r->bytes += end - va;
	if (last && last->va + last->len == va) {
		last->len += end - va;
		return;
	}
	if (!r->v || r->n == r->cap) {
		struct pie_iov *more = arena_alloc(a, (2 * r->cap + 64) * sizeof(*more));

		if (r->v)
			memcpy(more, r->v, r->n * sizeof(*more));
		r->cap = 2 * r->cap + 64;
		r->v = more;
	}
	r->v[r->n++] = (struct pie_iov){ va, end - va };
}

/* The run at va, NULL if there is none; *end comes down to where that changes. *at moves forward only. */
static const PagemapEntry *run_at(const struct snap_pages *p, size_t *at, uint64_t va, uint64_t *end)
{
	const PagemapEntry *e;
	uint64_t change;

	while (*at < p->nruns && p->runs[*at]->vaddr + p->runs[*at]->nr_pages * SNAP_PAGE <= va)
		++*at;
	e = *at < p->nruns ? p->runs[*at] : NULL;
	if (!e)
		return NULL;
	change = e->vaddr > va ? e->vaddr : e->vaddr + e->nr_pages * SNAP_PAGE;
	*end = change < *end ? change : *end;
	return e->vaddr > va ? NULL : e;
}

/* Sorts the pages of [va, end) by what is to be done with them. */
static void sort_pages(struct pair *k, uint64_t va, uint64_t end)
{
	for (uint64_t to; va < end; va = to) {
		const PagemapEntry *theirs, *ours;

		to = end;
		theirs = run_at(&k->from->pages, &k->from_at, va, &to);
		ours = run_at(&k->to->pages, &k->to_at, va, &to);
		if (!theirs)
			continue;
		if (ours && !k->known)
			add(k->a, &k->compare, va, to);
		else if (ours && ours->same)
			add(k->a, &k->same, va, to);
		else
			add(k->a, &k->drop, va, to);
	}
}

static bool can_be_kept(const VmaEntry *v)
{
	const uint32_t special = VMA_AREA_VDSO | VMA_AREA_VVAR | VMA_AREA_VSYSCALL | VMA_AREA_GUARD;

	return v->status & (VMA_ANON_PRIVATE | VMA_FILE_PRIVATE) && !(v->status & special) &&
	       !(v->flags & MAP_DROPPABLE);
}

/* Mappings that differ in nothing but what can be changed afterwards. */
static bool is_alike(const VmaEntry *v, const VmaEntry *w)
{
	const uint32_t flags = MAP_GROWSDOWN | MAP_NORESERVE, backing = VMA_ANON_PRIVATE | VMA_FILE_PRIVATE;
	const uint64_t advice = UINT64_C(1) << MADV_HUGEPAGE | UINT64_C(1) << MADV_NOHUGEPAGE;

	if (((v->flags ^ w->flags) & flags) || ((v->status ^ w->status) & backing) || ((v->madv ^ w->madv) & advice))
		return false;
	if (v->flags & MAP_GROWSDOWN && (v->start < w->start || v->end > w->end))
		return false;
	return v->status & VMA_ANON_PRIVATE || (v->shmid == w->shmid && v->pgoff - v->start == w->pgoff - w->start);
}

/* Keeps what v and w, a mapping of the creator's, have in common, if there is a common page in it. */
static void keep(struct pair *k, const VmaEntry *v, const VmaEntry *w)
{
	uint64_t start = v->start > w->start ? v->start : w->start, end = v->end < w->end ? v->end : w->end;
	uint64_t common = k->same.bytes + k->compare.bytes, dropped = k->drop.bytes;
	size_t ndrop = k->drop.n;

	sort_pages(k, start, end);
	if (k->same.bytes + k->compare.bytes == common) {
		/* it is unmapped as a whole; a range that continues one of an earlier piece is cut back */
		k->drop.n = ndrop;
		if (ndrop && k->drop.v[ndrop - 1].va + k->drop.v[ndrop - 1].len > start)
			k->drop.v[ndrop - 1].len = start - k->drop.v[ndrop - 1].va;
		k->drop.bytes = dropped;
		return;
	}
	k->kept[k->nkept++] = (struct heirloom){ start, end, w, rmemory_fill_prot(k->from, w) };
}

static size_t select_mappings(const struct snap_task *t, struct arena *a, VmaEntry ***ret)
{
	VmaEntry **v = arena_alloc(a, t->mm->n_vmas * sizeof(VmaEntry *) + 1);
	size_t n = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (can_be_kept(t->mm->vmas[i]))
			v[n++] = t->mm->vmas[i];
	*ret = v;
	return n;
}

static void walk(struct pair *k)
{
	VmaEntry **v, **w;
	size_t nv = select_mappings(k->to, k->a, &v), nw = select_mappings(k->from, k->a, &w);

	k->kept = arena_alloc(k->a, (nv + nw) * sizeof(*k->kept) + 1);
	for (size_t i = 0, j = 0; i < nv && j < nw;) {
		if (v[i]->start < w[j]->end && w[j]->start < v[i]->end && is_alike(v[i], w[j]))
			keep(k, v[i], w[j]);
		if (v[i]->end <= w[j]->end)
			i++;
		else
			j++;
	}
}

/* NULL: nothing to keep. */
static struct heritage *inherit(struct restore *r, const struct rtask *k, const struct rtask *from)
{
	struct pair p = { .a = r->kinds.a, .from = from->t, .to = k->t,
			  .known = k->t->pages.compared_with == from->t->pst->pid };
	struct heritage *h;

	if (!snap_same_program(k->t, from->t))
		return NULL;
	walk(&p);
	if (!p.nkept)
		return NULL;
	h = arena_alloc(r->kinds.a, sizeof(*h));
	*h = (struct heritage){ .from = from, .kept = p.kept, .nkept = p.nkept,
				.same = p.same.v, .nsame = p.same.n, .same_bytes = p.same.bytes,
				.compare = p.compare.v, .ncompare = p.compare.n, .compare_bytes = p.compare.bytes,
				.drop = p.drop.v, .ndrop = p.drop.n };
	log_debug("task %d (%s): shares %" PRIu64 " KiB with task %d, and maybe %" PRIu64 " KiB more", k->pid,
		  snap_comm(k->t), h->same_bytes >> 10, from->pid, h->compare_bytes >> 10);
	return h;
}

static bool is_early(const struct rtask *k)
{
	const struct rtask *c = k->creator;

	for (size_t i = 0; c && i < c->nearly; i++)
		if (c->early[i] == k)
			return true;
	return false;
}

/* Whoever is created after an heir finds the creator's memory, too. Early ones come before late ones. */
static bool comes_after_heir(const struct rtask *k)
{
	const struct rtask *c = k->creator;

	if (!c || is_early(k))
		return false;
	for (size_t i = 0; i < c->nearly; i++)
		if (c->early[i]->heir)
			return true;
	return c->role != RTASK_ALIVE && c->heir;
}

void heritage_plan(struct restore *r)
{
	for (size_t i = 0; i < r->tree.n; i++) {
		struct rtask *k = r->tree.tasks[i];
		const struct rtask *from = k->creator;

		while (from && from->role != RTASK_ALIVE)
			from = from->creator;
		if (k->role == RTASK_ALIVE && from)
			k->heritage = inherit(r, k, from);
		k->heir = k->heritage != NULL;
	}
	/* a stand-in hands on what it finds */
	for (size_t i = r->tree.n; i-- > 1;) {
		struct rtask *creator = r->tree.tasks[i]->creator;

		if (r->tree.tasks[i]->heir && creator && creator->role != RTASK_ALIVE)
			creator->heir = true;
	}
	for (size_t i = 0; i < r->tree.n; i++)
		r->tree.tasks[i]->finds_memory = r->tree.tasks[i]->heir || comes_after_heir(r->tree.tasks[i]);
}

size_t heritage_at(const struct heritage *h, uint64_t va)
{
	size_t low = 0, high = h ? h->nkept : 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (h->kept[mid].end > va)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

uint64_t heritage_room(const struct restore *r)
{
	uint64_t len = 0;

	for (size_t i = 0; i < r->tree.n; i++) {
		const struct heritage *h = r->tree.tasks[i]->heritage;

		/* records that unmap, map and protect around what is kept; chunks that end where ranges do */
		if (h)
			len += h->nkept * 512 + (h->nsame + h->ncompare + h->ndrop) * 96;
	}
	return len + r->tree.n * 256;
}

/* All of [start, end) but the hole. */
static void emit_unmap(const struct layout *l, uint64_t start, uint64_t end, struct prog *p)
{
	if (start < l->hole_va && end > l->end_va) {
		emit_unmap(l, start, l->hole_va, p);
		emit_unmap(l, l->end_va, end, p);
	} else if (start < end) {
		prog_sys(p, SYS_munmap, start, end - start);
	}
}

void heritage_emit(struct restore *r, const struct rtask *k, struct prog *p)
{
	const struct heritage *h = k->heritage;
	uint64_t at = 0;

	if (!k->finds_memory)
		return;
	prog_label(p, "unmap what is its creator's alone");
	for (size_t i = 0; h && i < h->nkept; at = h->kept[i++].end)
		emit_unmap(&r->lay, at, h->kept[i].start, p);
	emit_unmap(&r->lay, at, MAPS_END_VA, p);
	prog_label(p, "drop pages that are its creator's alone");
	if (h && h->ndrop)
		prog_do(p, OP_ADVISE, prog_data(&r->space, h->drop, h->ndrop * sizeof(*h->drop)), h->ndrop,
			MADV_DONTNEED);
}
