/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contents of private memory: how many page workers there are, what each task
 * gets of them, and the OP_FILL of its program.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/guard.h"
#include "base/log.h"
#include "kern/cpus.h"
#include "kern/feature.h"
#include "kern/thp.h"
#include "page/chunk.h"
#include "restore/heritage.h"
#include "restore/vdso_place.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

enum { HUGE = 2 << 20, SERIAL_BELOW = 16 << 20, LARGE = 256 << 20 };

/* UFFDIO_MOVE wants private anonymous memory with the protection of the staging area. */
bool fill_may_be_huge(const VmaEntry *v)
{
	return v->status & VMA_ANON_PRIVATE && !(v->status & VMA_AREA_VDSO) && !(v->flags & MAP_GROWSDOWN) &&
	       !(v->has_madv && v->madv >> MADV_NOHUGEPAGE & 1);
}

uint64_t fill_bytes(const struct rtask *k)
{
	uint64_t same = k->heritage ? k->heritage->same_bytes : 0;

	return k->role == RTASK_ALIVE ? snap_chain_bytes(&k->t->pages) - same : 0;
}

static void count_bytes(struct restore *r)
{
	const struct snap *s = r->snap;

	for (size_t i = 0; i < r->tree.n; i++)
		r->fill_bytes += fill_bytes(r->tree.tasks[i]);
	for (size_t i = 0; i < s->nshmem; i++)
		r->shmem_bytes += snap_chain_bytes(&s->shmem[i]->pages);
}

uint32_t fill_workers_choose(uint64_t bytes, int asked, unsigned cpus)
{
	uint32_t most = bytes < LARGE ? 4 : cpus / 2 > 16 ? cpus / 2 : 16;

	if (asked == OPTS_SERIAL || bytes < SERIAL_BELOW)
		return 0;
	if (asked > 0)
		return (uint32_t)asked < LAYOUT_WORKERS ? (uint32_t)asked : LAYOUT_WORKERS;
	most = most < LAYOUT_WORKERS ? most : LAYOUT_WORKERS;
	return cpus < most ? cpus : most;
}

void fill_plan(struct restore *r)
{
	uint64_t bytes;

	count_bytes(r);
	bytes = r->fill_bytes + r->shmem_bytes;
	if (bytes >= SERIAL_BELOW)
		guard_note_kills();
	r->fills = arena_alloc(r->kinds.a, r->snap->ntasks * sizeof(struct pie_fill *));
	/* what a small restore does not need is not asked: files of /sys and of control groups are 0.2 of its 4 ms */
	r->huge_pages = bytes >= HUGE && feature_has(FEATURE_THP); /* without, moving would only cost */
	r->huge_always = r->huge_pages && thp_mode() == THP_ALWAYS;
	r->workers = fill_workers_choose(bytes, r->kinds.opts->parallel_restore,
					 bytes < SERIAL_BELOW ? 1 : cpus_usable());
	if (r->workers)
		log_info("parallel page restore with %u workers", r->workers);
	else
		log_info("serial page restore: %s",
			 r->kinds.opts->parallel_restore == OPTS_SERIAL ? "asked for" : "less than 16 MiB");
}

/* A share by bytes, rounded up: rather one has to wait a little than a worker is left over. */
uint32_t fill_share(const struct restore *r, uint64_t bytes)
{
	uint64_t all = r->fill_bytes + r->shmem_bytes, share = all ? (bytes * r->workers + all - 1) / all : 0;

	return share > r->workers ? r->workers : share ? (uint32_t)share : 1;
}

/* The most workers a task may have: all, none when it is small. */
uint32_t fill_workers(const struct restore *r, uint64_t bytes)
{
	return bytes < SERIAL_BELOW ? 0 : r->workers;
}

void fill_budget(struct restore *r)
{
	struct pie_budget *b = &r->board->budget;

	b->workers = r->workers;
	b->free = (int32_t)r->workers;
	b->nids = r->nspare_ids;
	b->ids_va = prog_data(&r->space, r->spare_ids, r->nspare_ids * sizeof(int32_t));
}

/* The mappings that may get huge pages. */
static void rule_huge(struct restore *r, const struct snap_task *t, struct chunk_rules *u)
{
	struct pie_iov *huge = arena_alloc(r->kinds.a, t->mm->n_vmas * sizeof(*huge));
	bool wanted = r->huge_pages && !t->mm->thp_disabled;

	u->huge = huge;
	for (size_t i = 0; wanted && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (fill_may_be_huge(v))
			huge[u->nhuge++] = (struct pie_iov){ v->start, v->end - v->start };
	}
}

/* Whether the kernel would give it a huge page when it is touched: nothing is faster than to let it do so. */
static bool is_huge_anyway(const struct restore *r, const struct snap_task *t, const VmaEntry *v)
{
	uint64_t first = (v->start + CHUNK_LEN - 1) / CHUNK_LEN * CHUNK_LEN;

	return fill_may_be_huge(v) && r->huge_pages && !t->mm->thp_disabled && first + CHUNK_LEN <= v->end &&
	       (r->huge_always || (v->has_madv && v->madv >> MADV_HUGEPAGE & 1));
}

/* There must be nothing in it yet, and a userfaultfd must do. */
static bool can_be_watched(const struct restore *r, const struct rtask *k, const VmaEntry *v)
{
	const struct heritage *h = k->heritage;
	size_t at = heritage_at(h, v->start);

	if (!(v->status & VMA_ANON_PRIVATE) || v->status & VMA_AREA_VDSO || v->flags & MAP_DROPPABLE)
		return false;
	return !is_huge_anyway(r, k->t, v) && !(h && at < h->nkept && h->kept[at].start < v->end);
}

/*
 * The mappings to which all but huge pages are copied. A band of them ends at any other mapping, and at the hole, which
 * must never be watched.
 */
static void rule_watch(struct restore *r, const struct rtask *k, struct chunk_rules *u)
{
	const struct snap_task *t = k->t;
	struct pie_iov *watch = arena_alloc(r->kinds.a, t->mm->n_vmas * sizeof(*watch) + 1);
	uint32_t *band = arena_alloc(r->kinds.a, t->mm->n_vmas * sizeof(*band) + 1), n = 0;
	uint64_t last_end = 0;

	u->watch = watch;
	u->band = band;
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (v->status & VMA_AREA_GUARD)
			continue;
		if (last_end <= r->lay.hole_va && v->start >= r->lay.end_va)
			n++;
		last_end = v->end;
		if (!can_be_watched(r, k, v)) {
			n++;
			continue;
		}
		band[u->nwatch] = n;
		watch[u->nwatch++] = (struct pie_iov){ v->start, v->end - v->start };
	}
}

/* What it has inherited. When the image is to be freed of its pages, they have to be read all the same. */
static void rule_inherited(struct restore *r, const struct heritage *h, struct chunk_rules *u)
{
	if (!h)
		return;
	u->compare = h->compare;
	u->ncompare = h->ncompare;
	if (!r->kinds.opts->auto_dedup) {
		u->skip = h->same;
		u->nskip = h->nsame;
	} else if (!h->ncompare) {
		u->compare = h->same;
		u->ncompare = h->nsame;
	}
}

/* A vdso that is kept where it is comes from the running kernel. Nobody inherits one. */
static void rule_vdso(struct restore *r, const struct snap_task *t, struct chunk_rules *u)
{
	const struct rvdso *vdso = &r->vdso[t->index];
	struct pie_iov *skip;
	size_t at = 0;

	if (!vdso->plan.keep)
		return;
	skip = arena_alloc(r->kinds.a, (u->nskip + 1) * sizeof(*skip));
	for (; at < u->nskip && u->skip[at].va < vdso->vdso->start; at++)
		skip[at] = u->skip[at];
	skip[at] = (struct pie_iov){ vdso->vdso->start, vdso->vdso->end - vdso->vdso->start };
	for (; at < u->nskip; at++)
		skip[at + 1] = u->skip[at];
	u->skip = skip;
	u->nskip++;
}

/*
 * Room in the hole in which page workers collect what is moved or copied, for as long as filling takes. Returns the
 * record of the mapping: a task that may not have that much memory mapped (RLIMIT_AS) is filled in place.
 */
static struct prog_rec *emit_staging(const struct restore *r, struct prog *p)
{
	struct prog_rec *rec;

	prog_label(p, "staging area for page workers");
	rec = prog_try(p, SYS_mmap, r->lay.staging_va, r->lay.staging_len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
	prog_try(p, SYS_madvise, r->lay.staging_va, r->lay.staging_len, MADV_HUGEPAGE);
	return rec;
}

/* The files that hold its pages, as workers open them. */
static struct pie_file *name_files(struct restore *r, const struct snap_pages *p, uint64_t *ret_va)
{
	struct pie_file *f = prog_alloc(&r->space, p->nsources * sizeof(*f), ret_va);

	for (size_t i = 0; i < p->nsources; i++) {
		snprintf(f[i].name, sizeof(f[i].name), "pages-%u.img", p->sources[i].pages_id);
		f[i].depth = p->sources[i].depth;
		f[i].dirfd = r->images_tfd[f[i].depth];
	}
	return f;
}

void fill_emit(struct restore *r, const struct rtask *k, struct prog *p)
{
	const struct snap_task *t = k->t;
	struct chunk_rules rules = { .exact = r->kinds.opts->auto_dedup };
	const struct pie_file *files;
	struct prog_rec *staging = NULL;
	struct pie_fill *f;
	struct chunks c;
	uint64_t va, files_va;

	rule_huge(r, t, &rules);
	rule_watch(r, k, &rules);
	rule_inherited(r, k->heritage, &rules);
	rule_vdso(r, t, &rules);
	c = chunks_cut(&r->space, &t->pages, &rules);
	if (!c.n)
		return;
	files = name_files(r, &t->pages, &files_va);
	f = prog_alloc(&r->space, sizeof(*f), &va);
	*f = (struct pie_fill){
		.chunks_va = c.va,
		.nchunks = c.n,
		.files_va = files_va,
		.nfiles = (uint32_t)t->pages.nsources,
		.stacks_va = layout_worker_stacks(&r->lay),
		.nworkers = fill_workers(r, c.bytes),
		.share = fill_share(r, c.bytes),
		.punch = r->kinds.opts->auto_dedup,
		.ranges_va = c.ranges_va,
		.nranges = c.nranges,
		.ncut = c.ncut,
		.staging_va = r->lay.staging_va,
		.slots = r->lay.staging_slots,
		.ring_entries = r->ring_entries,
		.io = r->page_io,
	};
	if (f->nworkers > c.n)
		f->nworkers = c.n;
	prog_alloc(&r->space, (f->nworkers + 1) * sizeof(struct pie_span), &f->spans_va);
	r->fills[t->index] = f;
	if (c.nranges || c.ncompare)
		staging = emit_staging(r, p);
	prog_label(p, "fill memory from %s", files[0].name);
	prog_do(p, OP_FILL, va, staging ? prog_va(&r->space, staging) : 0);
	prog_label(p, "staging area for page workers");
	if (staging)
		prog_sys(p, SYS_munmap, r->lay.staging_va, r->lay.staging_len);
}
