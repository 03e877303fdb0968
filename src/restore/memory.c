/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory part of a task's program: map everything at its final address, fill
 * it (fill.c), then give each mapping its protection and locks.
 *
 * Map first, fill second: page workers then take per-VMA locks only, and a
 * mapping's pages are read once, to where they stay. Contents come before
 * protection (a read-only mapping must be written once) and before mlock, which
 * would populate every page with zeroes just to have them overwritten. Those who
 * inherit the memory are forked in between: behind contents, before the advice that
 * a mapping is not to be inherited.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/advice.h"
#include "kind/vma.h"
#include "restore/heritage.h"
#include "restore/vdso_place.h"

static bool is_mapping(const VmaEntry *v)
{
	return !(v->status & (VMA_AREA_VSYSCALL | VMA_AREA_GUARD | VMA_AREA_VVAR | VMA_AREA_VDSO));
}

/* Is there a page to fill in [start, end)? Runs are sorted (snap_check). */
static bool has_pages(const struct snap_pages *p, uint64_t start, uint64_t end)
{
	size_t low = 0, high = p->nruns;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->runs[mid]->vaddr + p->runs[mid]->nr_pages * SNAP_PAGE <= start)
			low = mid + 1;
		else
			high = mid;
	}
	return low < p->nruns && p->runs[low]->vaddr < end;
}

uint32_t rmemory_fill_prot(const struct snap_task *t, const VmaEntry *v)
{
	uint32_t prot = fill_may_be_huge(v) ? PROT_READ | PROT_WRITE : v->prot | PROT_WRITE;

	/* what is writable as it is needs no search: nearly all */
	if (prot == v->prot || !(v->flags & MAP_PRIVATE) || !has_pages(&t->pages, v->start, v->end))
		return v->prot;
	return prot;
}

static int emit_map(struct restore *r, const struct snap_task *t, const VmaEntry *v, uint32_t prot, struct prog *p)
{
	const struct kind_mem *k = kind_mem_of(v);

	if (!k)
		return err_say(ENOTSUP, "mapping %" PRIx64 "-%" PRIx64 ": mappings of status 0x%x are not supported yet",
			       v->start, v->end, v->status);
	return err_ctx(k->map(&r->kinds, t, v, prot, p), "mapping %" PRIx64 "-%" PRIx64, v->start, v->end);
}

/* The part of v that it does not inherit. */
static int emit_map_part(struct restore *r, const struct snap_task *t, const VmaEntry *v, uint64_t start, uint64_t end,
			 struct prog *p)
{
	VmaEntry part = *v;

	if (start >= end)
		return 0;
	part.start = start;
	part.end = end;
	part.pgoff += start - v->start;
	return emit_map(r, t, &part, rmemory_fill_prot(t, v), p);
}

/* A piece that it finds gets what it does not have yet. */
static void emit_adopt(const VmaEntry *v, const struct heirloom *h, uint32_t prot, struct prog *p)
{
	const char *name = v->anon_name ? v->anon_name : "", *old = h->from->anon_name ? h->from->anon_name : "";

	prog_label(p, "@inherit");
	if (h->prot != prot)
		prog_sys(p, SYS_mprotect, h->start, h->end - h->start, prot);
	if (strcmp(name, old) != 0)
		vma_name(v, h->start, h->end, p);
}

static int emit_mapping(struct restore *r, const struct rtask *k, const VmaEntry *v, struct prog *p)
{
	const struct heritage *h = k->heritage;
	uint64_t at = v->start;
	int err;

	for (size_t i = heritage_at(h, at); h && i < h->nkept && h->kept[i].start < v->end; i++) {
		err = emit_map_part(r, k->t, v, at, h->kept[i].start, p);
		if (err < 0)
			return err;
		emit_adopt(v, &h->kept[i], rmemory_fill_prot(k->t, v), p);
		at = h->kept[i].end;
	}
	return emit_map_part(r, k->t, v, at, v->end, p);
}

/* Whether pages may be huge has to be said before there are any; all other advice keeps until they are there. */
static void emit_advice(const VmaEntry *v, bool first, struct prog *p)
{
	for (unsigned bit = 0; v->has_madv && bit < 64; bit++)
		if (v->madv >> bit & 1 && (bit == MADV_HUGEPAGE || bit == MADV_NOHUGEPAGE) == first) {
			prog_label(p, "madvise(%u) for %" PRIx64 "-%" PRIx64, bit, v->start, v->end);
			prog_sys(p, SYS_madvise, v->start, v->end - v->start, bit);
		}
}

static void emit_protection(const VmaEntry *v, uint32_t mapped_prot, struct prog *p)
{
	emit_advice(v, false, p);
	if (mapped_prot != v->prot) {
		prog_label(p, "@protect");
		prog_sys(p, SYS_mprotect, v->start, v->end - v->start, v->prot);
	}
}

static bool has_guards(const struct snap_task *t, const VmaEntry *v)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *g = t->mm->vmas[i];

		if (g->status & VMA_AREA_GUARD && g->start < v->end && v->start < g->end)
			return true;
	}
	return false;
}

static void emit_lock(const struct snap_task *t, const VmaEntry *v, struct prog *p)
{
	/* what cannot be read in now (no access, the end of a file, guards) is locked all the same, with an error */
	bool may_fail = !v->prot || !(v->flags & MAP_ANONYMOUS) || has_guards(t, v);

	prog_label(p, "@lock in memory");
	prog_call(p, may_fail ? PROG_MAY_FAIL : 0, SYS_mlock2,
		  PROG_ARGS(v->start, v->end - v->start, v->lock_on_fault ? MLOCK_ONFAULT : 0));
}

int rmemory_emit(struct restore *r, const struct rtask *k, struct prog *p)
{
	const struct snap_task *t = k->t;

	heritage_emit(r, k, p);
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int err;

		if (!is_mapping(v))
			continue;
		err = emit_mapping(r, k, v, p);
		if (err < 0)
			return err;
		emit_advice(v, true, p);
	}
	vdso_place_emit_map(r, t, p);
	fill_emit(r, k, p);
	return 0;
}

void rmemory_emit_protection(const struct snap_task *t, struct prog *p)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (is_mapping(v))
			emit_protection(v, rmemory_fill_prot(t, v), p);
		if (v->status & VMA_AREA_GUARD) {
			prog_label(p, "@guard pages");
			prog_sys(p, SYS_madvise, v->start, v->end - v->start, MADV_GUARD_INSTALL);
		}
	}
	/* guards cannot be put into what is locked */
	for (size_t i = 0; i < t->mm->n_vmas; i++)
		if (is_mapping(t->mm->vmas[i]) && t->mm->vmas[i]->flags & MAP_LOCKED)
			emit_lock(t, t->mm->vmas[i], p);
}

int rmemory_emit_vdso(struct restore *r, const struct snap_task *t, struct prog *p)
{
	vdso_place_emit_move(r, t, p);
	return 0;
}
