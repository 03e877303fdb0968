/* SPDX-License-Identifier: Apache-2.0 */
/* Which memory is to be stored, and from where; the storing itself is page/collect.c's. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/crew.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/trace.h"
#include "dump/dt.h"
#include "dump/page_map.h"
#include "dump/page_scan.h"
#include "kern/cpus.h"
#include "kern/pagemap.h"
#include "kind/shmem.h"
#include "page/collect.h"

static const uint64_t SERIAL_BELOW = 16 << 20, LARGE = 16 << 20;

struct pieces {
	struct collect_piece *v;
	size_t n, cap;
};

static int add_piece(struct pieces *p, struct collect_piece k)
{
	if (p->n == p->cap) {
		size_t cap = p->cap ? 2 * p->cap : 256;
		struct collect_piece *more = realloc(p->v, cap * sizeof(*more));

		if (!more)
			return err_set(ENOMEM, "list memory");
		p->v = more;
		p->cap = cap;
	}
	p->v[p->n++] = k;
	return 0;
}

/* A mapping, as far as its private pages are concerned. */
struct area {
	uint64_t start, end;
	bool whole;     /* the vdso: its code is what a restore compares */
	bool none;      /* has no private pages */
	bool keep_zero, by_mem;
};

static struct area area_of_vma(const VmaEntry *v)
{
	const uint32_t kernels = VMA_AREA_VSYSCALL | VMA_AREA_VVAR | VMA_AREA_GUARD | VMA_AREA_VDSO;

	return (struct area){ v->start, v->end, .whole = v->status & VMA_AREA_VDSO,
			      .none = !(v->flags & MAP_PRIVATE) || v->status & kernels,
			      .keep_zero = !(v->status & VMA_ANON_PRIVATE), .by_mem = !(v->prot & PROT_READ) };
}

/* In a pre-dump no kind has claimed it. */
static struct area area_of_map(const struct map *m)
{
	return (struct area){ m->start_va, m->end_va, .none = m->shared || (m->name[0] == '[' && m->name[1] == 'v'),
			      .keep_zero = m->ino, .by_mem = !(m->prot & PROT_READ) };
}

/* All in one go, but for large anonymous mappings: there the quicker question does, or none. */
static int scan_pages(const struct dtask *k, const struct pagemap *pm, struct arena *ar, struct pagemap_runs *runs)
{
	const struct dump_task *t = k->t;
	uint64_t at = 0;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < t->nmaps; i++) {
		struct area a = area_of_map(&t->maps[i]);

		if (a.none || a.keep_zero || a.end - a.start < LARGE)
			continue;
		err = pagemap_scan(pm, &pagemap_private, at, a.start, runs);
		if (err >= 0)
			err = k->flags != FLAGS_BESIDE_PAGES && map_full(&t->maps[i]) ?
				      pagemap_runs_add(runs, &(struct pagemap_run){ a.start, a.end, 0 }) :
				      page_scan(pm, a.start, a.end, ar, runs);
		at = a.end;
	}
	return err < 0 ? err : pagemap_scan(pm, &pagemap_private, at, MAPS_END_VA, runs);
}

/* What is not unchanged of [from, to). *at only moves forward. */
static int add_changed(struct pieces *p, const struct area *a, uint64_t from, uint64_t to,
		       const struct pagemap_runs *unchanged, size_t *at)
{
	int err = 0;

	for (; err >= 0 && from < to; from = *at < unchanged->n ? unchanged->run[*at].end_va : to) {
		uint64_t end;

		while (*at < unchanged->n && unchanged->run[*at].end_va <= from)
			++*at;
		end = *at < unchanged->n && unchanged->run[*at].start_va < to ? unchanged->run[*at].start_va : to;
		if (from < end)
			err = add_piece(p, (struct collect_piece){ from, end - from, a->keep_zero, a->by_mem });
		if (end == to)
			break;
	}
	return err;
}

static int area_pieces(const struct area *a, const struct pagemap_runs *runs, size_t *run,
		       const struct pagemap_runs *unchanged, size_t *at, struct pieces *p)
{
	int err = 0;

	if (a->whole)
		err = add_piece(p, (struct collect_piece){ a->start, a->end - a->start, true, false });
	while (*run < runs->n && runs->run[*run].end_va <= a->start)
		++*run;
	for (size_t k = *run; err >= 0 && !a->none && k < runs->n && runs->run[k].start_va < a->end; k++) {
		uint64_t from = runs->run[k].start_va > a->start ? runs->run[k].start_va : a->start;
		uint64_t to = runs->run[k].end_va < a->end ? runs->run[k].end_va : a->end;

		err = add_changed(p, a, from, to, unchanged, at);
	}
	return err;
}

static int task_pieces(const struct dump *d, struct dtask *k, const struct pagemap *pm, struct arena *ar,
		       struct pieces *p)
{
	struct dump_task *t = k->t;
	struct pagemap_runs runs = { 0 };
	size_t run = 0, at = 0, n = d->memory_only ? t->nmaps : t->t->mm->n_vmas;
	int err = scan_pages(k, pm, ar, &runs);

	for (size_t i = 0; err >= 0 && i < n; i++) {
		struct area a = d->memory_only ? area_of_map(&t->maps[i]) : area_of_vma(t->t->mm->vmas[i]);

		err = area_pieces(&a, &runs, &run, &k->track.unchanged, &at, p);
	}
	pagemap_runs_free(&runs);
	return err;
}

static int shmem_pieces(const struct shmem_object *o, struct pieces *p)
{
	uint64_t end = (o->size + SNAP_PAGE - 1) & ~(uint64_t)(SNAP_PAGE - 1);
	off_t at = 0;
	int err = 0;

	while (err >= 0 && (at = lseek(o->fd, at, SEEK_DATA)) >= 0) {
		off_t hole = lseek(o->fd, at, SEEK_HOLE);
		uint64_t from = (uint64_t)at & ~(uint64_t)(SNAP_PAGE - 1), to;

		if (hole < 0)
			hole = (off_t)end;
		to = ((uint64_t)hole + SNAP_PAGE - 1) & ~(uint64_t)(SNAP_PAGE - 1);
		if (from < to)
			err = add_piece(p, (struct collect_piece){ from, to - from, false, false });
		at = hole;
		if ((uint64_t)at >= end)
			break;
	}
	return err;
}

static int open_out(struct dump *d, struct collect_object *o, uint32_t pages_id)
{
	o->out.pages_id = pages_id;
	o->out.direct = d->kinds.opts->page_io == PAGE_IO_DIRECT;
	o->out.fd = imgdir_create(d->kinds.dir, IMG_PAGES, pages_id);
	return o->out.fd < 0 ? o->out.fd : 0;
}

static int take_pieces(struct collect_object *o, struct pieces *p)
{
	o->pieces = p->v;
	o->npieces = p->n;
	*p = (struct pieces){ 0 };
	return 0;
}

static bool is_forked(const struct dump_task *t)
{
	return t->stat.flags & PROC_FORKNOEXEC;
}

/*
 * Pages come to belong to two processes by fork and by MADV_MERGEABLE, whose flag is there if the kernel has merged
 * any. (Of a child that left the tree none is told.)
 */
static bool stands_alone(const struct dump *d, const struct dtask *k)
{
	const struct dump_task *t = k->t;
	bool alone = !is_forked(t);

	for (size_t i = 0; alone && i < d->kinds.ntasks; i++)
		alone = d->kinds.tasks[i].t->parent != t->t || !is_forked(&d->kinds.tasks[i]);
	for (size_t i = 0; alone && k->flags != FLAGS_BESIDE_PAGES && i < t->nmaps; i++)
		alone = !(t->maps[i].vm_flags & MAP_VM_BIT(MAP_VM_MG));
	return alone;
}

static int task_object(void *ctx, size_t i, struct arena *a)
{
	struct dump *d = ctx;
	struct dtask *k = &d->tasks[i];
	struct collect_object *o = &d->objects[i];
	const struct dump_task *t = k->t;
	struct pieces p = { 0 };
	int err;

	o->name = arena_printf(a, "task %d (%s)", t->pid, t->stat.comm);
	o->pid = t->pid;
	o->alone = stands_alone(d, k);
	o->src_fd = openat(t->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (o->src_fd < 0)
		return err_set(errno, "%s: open its memory", o->name);
	o->may_vanish = d->memory_only;
	err = pagemap_open(t->proc_fd, &o->pm);
	if (err >= 0)
		err = task_pieces(d, k, &o->pm, a, &p);
	err = err_ctx(err, "%s", o->name);
	take_pieces(o, &p);
	return err;
}

static int shmem_object(struct dump *d, const struct shmem_object *s, struct collect_object *o)
{
	struct pieces p = { 0 };
	int err;

	o->name = arena_printf(d->kinds.a, "shared memory object %lu", s->shmid);
	o->src_fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	if (o->src_fd < 0)
		return err_set(errno, "%s", o->name);
	err = err_ctx(shmem_pieces(s, &p), "%s", o->name);
	take_pieces(o, &p);
	return err;
}

static unsigned threads_for(const struct dump *d)
{
	unsigned n = d->bytes_total < SERIAL_BELOW ? 1 : cpus_usable();

	return n > 16 ? 16 : n;
}

static void tick(void *bar)
{
	progress_tick(bar);
}

static uint64_t pieces_len(const struct collect_object *o, size_t n)
{
	uint64_t len = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < o[i].npieces; k++)
			len += o[i].pieces[k].len;
	return len;
}

static int collect(struct dump *d, struct collect_object *o, size_t n)
{
	struct progress bar;
	uint64_t from = trace_now_ns();
	unsigned threads;
	int err;

	d->bytes_total = pieces_len(o, n);
	if (d->bytes_total >= SERIAL_BELOW)
		guard_note_kills();
	threads = threads_for(d);
	log_info("dump of %lu bytes of memory with %u workers", d->bytes_total, threads);
	progress_start(&bar, "dump", &d->bytes_done, d->bytes_total, d->kinds.opts->progress);
	err = collect_run_all(o, n, threads, &d->bytes_done, guard_flag(), tick, &bar);
	progress_end(&bar);
	d->pages_read = pieces_len(o, d->kinds.ntasks) / SNAP_PAGE;
	d->shpages_read = pieces_len(o + d->kinds.ntasks, n - d->kinds.ntasks) / SNAP_PAGE;
	d->memory_ns = trace_now_ns() - from;
	trace_span("memory", getpid(), getpid(), from, trace_now_ns(), d->bytes_done);
	return err;
}

int pages_find(struct dump *d)
{
	struct shmem_object *const *shmem;
	size_t nshmem = shmem_list(&d->kinds, &shmem), ntasks = d->kinds.ntasks, n = ntasks + nshmem;
	struct collect_object *o = arena_alloc(d->kinds.a, n * sizeof(*o));
	int err;

	for (size_t i = 0; i < n; i++)
		o[i].out.fd = o[i].src_fd = o[i].pm.fd = -1;
	d->objects = o;
	d->nobjects = n;
	err = track_unchanged(d);
	if (err >= 0)
		err = crew_finish(crew_start(d->kinds.a, ntasks, task_object, d));
	for (size_t i = ntasks; err >= 0 && i < n; i++)
		err = shmem_object(d, shmem[i - ntasks], &o[i]);
	for (size_t i = 0; err >= 0 && i < n; i++)
		err = open_out(d, &o[i], (uint32_t)i + 1);
	return err;
}

int pages_dump(struct dump *d)
{
	return collect(d, d->objects, d->nobjects);
}

void pages_map(struct dump *d)
{
	struct shmem_object *const *shmem;
	size_t ntasks = d->kinds.ntasks;

	shmem_list(&d->kinds, &shmem);
	for (size_t i = 0; i < d->nobjects; i++) {
		struct snap_shmem *s;

		if (i < ntasks) {
			struct snap_task *t = d->kinds.tasks[i].t;
			const struct pagemap_runs *u = &d->tasks[i].track.unchanged;

			d->pages_written += page_map_fill(d->kinds.a, &d->objects[i], t->mm, u, &t->pages,
							  &d->pages_parent);
			continue;
		}
		s = arena_alloc(d->kinds.a, sizeof(*s));
		s->shmid = shmem[i - ntasks]->shmid;
		d->shpages_written += page_map_fill(d->kinds.a, &d->objects[i], NULL, NULL, &s->pages, NULL);
		arena_add(d->kinds.a, &d->snap->shmem, &d->snap->nshmem, s);
	}
}

void pages_done(void *dump)
{
	struct dump *d = dump;

	for (size_t i = 0; i < d->nobjects; i++) {
		struct collect_object *o = &d->objects[i];

		close_fd(&o->src_fd);
		close_fd(&o->out.fd);
		pagemap_close(&o->pm);
		free(o->pieces);
		free(o->runs);
	}
	d->nobjects = 0;
}
