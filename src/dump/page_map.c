/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page map of an object: what was stored, and what is left to the parent images,
 * in order of address. Stored pages lie in the pages file in the same order.
 */
#include "dump/page_map.h"

#include <sys/mman.h>

/* Pages that CRIU may bring in late (its --lazy-pages): private anonymous memory that is not locked. */
static uint32_t page_flags(const VmaEntry *v)
{
	bool late = v->status & VMA_ANON_PRIVATE && !(v->status & VMA_AREA_VDSO) && !(v->flags & MAP_LOCKED);

	return late ? PE_PRESENT | PE_LAZY : PE_PRESENT;
}

/* The number of the first mapping from i on that reaches behind va; mm->n_vmas: none. */
static size_t vma_behind(const MmEntry *mm, size_t i, uint64_t va)
{
	while (i < mm->n_vmas && (mm->vmas[i]->end <= va || mm->vmas[i]->status & VMA_AREA_GUARD))
		i++;
	return i;
}

/* Where the flags of a task's run [va, end) change, at the latest its end. *at: the mapping of va, or one before it. */
static uint64_t flags_until(const MmEntry *mm, size_t *at, uint64_t va, uint64_t end, uint32_t *ret_flags)
{
	size_t i = *at = vma_behind(mm, *at, va);

	*ret_flags = i < mm->n_vmas ? page_flags(mm->vmas[i]) : PE_PRESENT;
	while (i < mm->n_vmas && va < end && page_flags(mm->vmas[i]) == *ret_flags) {
		va = mm->vmas[i]->end;
		i = vma_behind(mm, i, va);
	}
	return i < mm->n_vmas && va < end ? va : end;
}

static PagemapEntry *add_entry(struct arena *a, struct snap_pages *p, uint64_t va, uint64_t end, uint32_t flags)
{
	PagemapEntry *e = arena_msg(a, pagemap_entry, PagemapEntry);

	e->has_nr_pages = e->has_flags = true;
	e->flags = flags;
	e->vaddr = va;
	e->nr_pages = (end - va) / SNAP_PAGE;
	arena_add(a, &p->runs, &p->nruns, e);
	return e;
}

/* Returns how many pages it adds: what is left to the parent in front of va. *next: the first run not yet added. */
static uint64_t add_unchanged(struct arena *a, const struct pagemap_runs *u, size_t *next, uint64_t va,
			      struct snap_pages *p)
{
	uint64_t pages = 0;

	for (; u && *next < u->n && u->run[*next].start_va < va; ++*next)
		pages += add_entry(a, p, u->run[*next].start_va, u->run[*next].end_va, PE_PARENT)->nr_pages;
	return pages;
}

uint64_t page_map_fill(struct arena *a, const struct collect_object *o, const MmEntry *mm,
		       const struct pagemap_runs *unchanged, struct snap_pages *p, uint64_t *parent_pages)
{
	uint64_t pages = 0, left = 0;
	size_t at = 0, next = 0;

	p->pages_id = o->out.pages_id;
	for (size_t i = 0; i < o->nruns; i++) {
		uint64_t end = o->runs[i].at + o->runs[i].len;

		left += add_unchanged(a, unchanged, &next, o->runs[i].at, p);
		for (uint64_t va = o->runs[i].at, to; va < end; va = to) {
			uint32_t flags = PE_PRESENT;

			to = mm ? flags_until(mm, &at, va, end, &flags) : end;
			pages += add_entry(a, p, va, to, flags)->nr_pages;
		}
	}
	left += add_unchanged(a, unchanged, &next, UINT64_MAX, p);
	if (parent_pages)
		*parent_pages += left;
	return pages;
}
