/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory part of a task's program: map everything at its final address, fill
 * it (fill.c), then give each mapping its protection and locks.
 *
 * Map first, fill second: page workers then take per-VMA locks only, and a
 * mapping's pages are read once, to where they stay. Contents come before
 * protection (a read-only mapping must be written once) and before mlock, which
 * would populate every page with zeroes just to have them overwritten.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "restore/rt.h"
#include "restore/vdso_place.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

static bool is_mapping(const VmaEntry *v)
{
	return !(v->status & (VMA_AREA_VSYSCALL | VMA_AREA_GUARD | VMA_AREA_VVAR | VMA_AREA_VDSO));
}

/* Is there a page to fill in [start, end)? Runs are sorted (snap_check), *at only moves forward. */
static bool has_pages(const struct snap_pages *p, size_t *at, uint64_t start, uint64_t end)
{
	while (*at < p->nruns && p->runs[*at]->vaddr + p->runs[*at]->nr_pages * SNAP_PAGE <= start)
		++*at;
	return *at < p->nruns && p->runs[*at]->vaddr < end;
}

static uint32_t fill_prot(const VmaEntry *v, bool filled)
{
	if (!filled || !(v->flags & MAP_PRIVATE))
		return v->prot;
	return fill_may_be_huge(v) ? PROT_READ | PROT_WRITE : v->prot | PROT_WRITE;
}

static int emit_map(struct restore *r, const struct snap_task *t, const VmaEntry *v, uint32_t prot, struct prog *p)
{
	const struct kind_mem *k = kind_mem_of(v);

	if (!k)
		return err_say(ENOTSUP, "mapping %" PRIx64 "-%" PRIx64 ": mappings of status 0x%x are not supported yet",
			       v->start, v->end, v->status);
	prog_label(p, "map %" PRIx64 "-%" PRIx64 " (%s)", v->start, v->end, k->name);
	return err_ctx(k->map(&r->kinds, t, v, prot, p), "mapping %" PRIx64 "-%" PRIx64, v->start, v->end);
}

static void emit_advice(const VmaEntry *v, struct prog *p)
{
	for (unsigned bit = 0; v->has_madv && bit < 64; bit++)
		if (v->madv >> bit & 1) {
			prog_label(p, "madvise(%u) for %" PRIx64 "-%" PRIx64, bit, v->start, v->end);
			prog_sys(p, SYS_madvise, v->start, v->end - v->start, bit);
		}
}

static void emit_protection(const VmaEntry *v, uint32_t mapped_prot, struct prog *p)
{
	uint64_t len = v->end - v->start;

	if (mapped_prot != v->prot) {
		prog_label(p, "protect %" PRIx64 "-%" PRIx64, v->start, v->end);
		prog_sys(p, SYS_mprotect, v->start, len, v->prot);
	}
	if (v->flags & MAP_LOCKED) {
		prog_label(p, "lock %" PRIx64 "-%" PRIx64 " in memory", v->start, v->end);
		/* what cannot be read in now (no access, the end of a file) is locked all the same, with an error */
		prog_call(p, !v->prot || !(v->flags & MAP_ANONYMOUS) ? PROG_MAY_FAIL : 0, SYS_mlock2,
			  PROG_ARGS(v->start, len, v->lock_on_fault ? MLOCK_ONFAULT : 0));
	}
}

int rmemory_emit(struct restore *r, const struct snap_task *t, struct prog *p)
{
	size_t n = t->mm->n_vmas, at = 0;
	uint32_t *prot = arena_alloc(r->kinds.a, n * sizeof(*prot));

	for (size_t i = 0; i < n; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int err;

		if (!is_mapping(v))
			continue;
		prot[i] = fill_prot(v, has_pages(&t->pages, &at, v->start, v->end));
		err = emit_map(r, t, v, prot[i], p);
		if (err < 0)
			return err;
		emit_advice(v, p);
	}
	vdso_place_emit_map(r, t, p);
	fill_emit(r, t, p);
	for (size_t i = 0; i < n; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (is_mapping(v))
			emit_protection(v, prot[i], p);
		if (v->status & VMA_AREA_GUARD) {
			prog_label(p, "guard pages %" PRIx64 "-%" PRIx64, v->start, v->end);
			prog_sys(p, SYS_madvise, v->start, v->end - v->start, MADV_GUARD_INSTALL);
		}
	}
	return 0;
}

int rmemory_emit_vdso(struct restore *r, const struct snap_task *t, struct prog *p)
{
	vdso_place_emit_move(r, t, p);
	return 0;
}
