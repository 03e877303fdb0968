/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory part of a task's program: map everything at its final address, fill
 * it, then give each mapping its protection and locks.
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

#include "page/chunk.h"
#include "restore/rt.h"
#include "restore/vdso_place.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { SERIAL_BELOW = 16 << 20 };

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

/* UFFDIO_MOVE wants private anonymous memory with the protection of the staging area. */
static bool may_be_huge(const VmaEntry *v)
{
	return v->status & VMA_ANON_PRIVATE && !(v->status & VMA_AREA_VDSO) && !(v->flags & MAP_GROWSDOWN) &&
	       !(v->has_madv && v->madv >> MADV_NOHUGEPAGE & 1);
}

static uint32_t fill_prot(const VmaEntry *v, bool filled)
{
	if (!filled || !(v->flags & MAP_PRIVATE))
		return v->prot;
	return may_be_huge(v) ? PROT_READ | PROT_WRITE : v->prot | PROT_WRITE;
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

/* The workers a task gets out of the budget: its share by bytes, none when it is small. */
uint32_t rmemory_workers(const struct restore *r, uint64_t bytes)
{
	uint64_t share;

	if (!r->workers || bytes < SERIAL_BELOW)
		return 0;
	share = (bytes * r->workers + r->fill_bytes / 2) / r->fill_bytes;
	return share < 1 ? 1 : share > r->workers ? r->workers : (uint32_t)share;
}

/* The mappings that may get huge pages, as the cutter wants them. */
static struct chunk_rules rules_for(struct restore *r, const struct snap_task *t)
{
	const struct rvdso *vdso = &r->vdso[t->index];
	struct pie_iov *huge = arena_alloc(r->kinds.a, t->mm->n_vmas * sizeof(*huge));
	struct chunk_rules u = { .huge = huge };
	bool wanted = r->huge_pages && !t->mm->thp_disabled;

	for (size_t i = 0; wanted && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (is_mapping(v) && may_be_huge(v))
			huge[u.nhuge++] = (struct pie_iov){ v->start, v->end - v->start };
	}
	if (vdso->plan.keep) {
		u.skip_start = vdso->vdso->start;
		u.skip_end = vdso->vdso->end;
	}
	return u;
}

/*
 * Room in the hole in which page workers collect huge pages, for as long as filling takes. Returns the record of the
 * mapping: a task that may not have that much memory mapped (RLIMIT_AS) is filled in place.
 */
static struct prog_rec *emit_staging(const struct restore *r, struct prog *p)
{
	struct prog_rec *rec;

	prog_label(p, "staging area for huge pages");
	rec = prog_try(p, SYS_mmap, r->lay.staging_va, r->lay.staging_len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
	prog_try(p, SYS_madvise, r->lay.staging_va, r->lay.staging_len, MADV_HUGEPAGE);
	return rec;
}

/* Twice as many numbers as workers, in case some are taken in the meantime. */
static void give_ids(struct restore *r, struct pie_fill *f)
{
	f->ntids = f->nworkers * 2 < r->nspare_ids ? f->nworkers * 2 : r->nspare_ids;
	if (!f->ntids)
		return;
	r->nspare_ids -= f->ntids;
	f->tids_va = prog_data(&r->space, r->spare_ids + r->nspare_ids, f->ntids * sizeof(int32_t));
}

static void emit_fill(struct restore *r, const struct snap_task *t, struct prog *p)
{
	struct chunk_rules rules = rules_for(r, t);
	struct pie_file file = { 0 };
	struct prog_rec *staging = NULL;
	struct pie_fill *f;
	struct chunks c;
	uint64_t va;

	c = chunks_cut(&r->space, &t->pages, 0, &rules);
	if (!c.n)
		return;
	snprintf(file.name, sizeof(file.name), "pages-%u.img", t->pages.pages_id);
	f = prog_alloc(&r->space, sizeof(*f), &va);
	*f = (struct pie_fill){
		.chunks_va = c.va,
		.nchunks = c.n,
		.files_va = prog_data(&r->space, &file, sizeof(file)),
		.nfiles = 1,
		.stacks_va = layout_worker_stacks(&r->lay),
		.nworkers = rmemory_workers(r, c.bytes),
		.punch = r->kinds.opts->auto_dedup,
		.dirfd = r->images_tfd,
		.ranges_va = c.ranges_va,
		.nranges = c.nranges,
		.staging_va = r->lay.staging_va,
	};
	if (f->nworkers > c.n)
		f->nworkers = c.n;
	give_ids(r, f);
	if (c.nranges)
		staging = emit_staging(r, p);
	prog_label(p, "fill memory from %s", file.name);
	prog_do(p, OP_FILL, va, staging ? prog_va(&r->space, staging) : 0);
	prog_label(p, "staging area for huge pages");
	if (staging)
		prog_sys(p, SYS_munmap, r->lay.staging_va, r->lay.staging_len);
}

void rmemory_count(struct restore *r)
{
	const struct snap *s = r->snap;

	for (size_t i = 0; i < s->ntasks; i++)
		r->fill_bytes += snap_pages_bytes(&s->tasks[i]->pages);
	for (size_t i = 0; i < s->nshmem; i++)
		r->shmem_bytes += snap_pages_bytes(&s->shmem[i]->pages);
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
	emit_fill(r, t, p);
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
