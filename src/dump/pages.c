/* SPDX-License-Identifier: Apache-2.0 */
/* Which memory is to be stored, and from where; the storing itself is page/collect.c's. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/trace.h"
#include "dump/dt.h"
#include "kern/pagemap.h"
#include "kind/shmem.h"
#include "page/collect.h"

static const uint64_t TASK_TOP = 0x7ffffffff000, SERIAL_BELOW = 16 << 20;

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

/* Private pages live in private mappings; the vdso counts as one (its code is what a restore compares). */
static bool has_private(const VmaEntry *v)
{
	return (v->flags & MAP_PRIVATE) &&
	       !(v->status & (VMA_AREA_VSYSCALL | VMA_AREA_VVAR | VMA_AREA_GUARD | VMA_AREA_VDSO));
}

static int task_pieces(struct dump_task *t, const struct pagemap *pm, struct pieces *p)
{
	struct pagemap_runs runs = { 0 };
	size_t at = 0;
	int err = pagemap_scan(pm, &pagemap_private, 0, TASK_TOP, &runs);

	for (size_t i = 0; err >= 0 && i < t->t->mm->n_vmas; i++) {
		const VmaEntry *v = t->t->mm->vmas[i];

		if (v->status & VMA_AREA_VDSO)
			err = add_piece(p, (struct collect_piece){ v->start, v->end - v->start, true, false });
		while (at < runs.n && runs.run[at].end_va <= v->start)
			at++;
		for (size_t k = at; err >= 0 && has_private(v) && k < runs.n && runs.run[k].start_va < v->end; k++) {
			uint64_t from = runs.run[k].start_va > v->start ? runs.run[k].start_va : v->start;
			uint64_t to = runs.run[k].end_va < v->end ? runs.run[k].end_va : v->end;

			err = add_piece(p, (struct collect_piece){ from, to - from, !(v->status & VMA_ANON_PRIVATE),
								   !(v->prot & PROT_READ) });
		}
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

static int task_object(struct dump *d, struct dump_task *t, struct collect_object *o)
{
	struct pieces p = { 0 };
	int err;

	o->name = arena_printf(d->kinds.a, "task %d (%s)", t->pid, t->stat.comm);
	o->pid = t->pid;
	o->src_fd = openat(t->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (o->src_fd < 0)
		return err_set(errno, "%s: open its memory", o->name);
	err = pagemap_open(t->proc_fd, &o->pm);
	if (err >= 0)
		err = task_pieces(t, &o->pm, &p);
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

/* Returns the number of pages. mm: the task's, NULL of an object of its own. */
static uint64_t result(struct dump *d, const struct collect_object *o, const MmEntry *mm, struct snap_pages *p)
{
	uint64_t pages = 0;
	size_t at = 0;

	p->pages_id = o->out.pages_id;
	for (size_t i = 0; i < o->nruns; i++) {
		uint64_t end = o->runs[i].at + o->runs[i].len;

		for (uint64_t va = o->runs[i].at, to; va < end; va = to) {
			PagemapEntry *e = arena_msg(d->kinds.a, pagemap_entry, PagemapEntry);

			e->has_nr_pages = e->has_flags = true;
			e->flags = PE_PRESENT;
			to = mm ? flags_until(mm, &at, va, end, &e->flags) : end;
			e->vaddr = va;
			e->nr_pages = (to - va) / SNAP_PAGE;
			arena_add(d->kinds.a, &p->runs, &p->nruns, e);
		}
		pages += o->runs[i].len / SNAP_PAGE;
	}
	return pages;
}

static unsigned threads_for(const struct dump *d)
{
	cpu_set_t set;
	int n = 1;

	if (d->bytes_total < SERIAL_BELOW)
		return 1;
	if (!sched_getaffinity(0, sizeof(set), &set))
		n = CPU_COUNT(&set);
	return (unsigned)(n > 16 ? 16 : n);
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

int pages_dump(struct dump *d)
{
	struct shmem_object *const *shmem;
	size_t nshmem = shmem_list(&d->kinds, &shmem), ntasks = d->kinds.ntasks, n = ntasks + nshmem;
	struct collect_object *o = arena_alloc(d->kinds.a, n * sizeof(*o));
	int err = 0;

	for (size_t i = 0; i < n; i++)
		o[i].out.fd = o[i].src_fd = o[i].pm.fd = -1;
	for (size_t i = 0; err >= 0 && i < n; i++) {
		err = i < ntasks ? task_object(d, &d->kinds.tasks[i], &o[i]) :
				   shmem_object(d, shmem[i - ntasks], &o[i]);
		if (err >= 0)
			err = open_out(d, &o[i], (uint32_t)i + 1);
	}
	if (err >= 0)
		err = collect(d, o, n);
	for (size_t i = 0; err >= 0 && i < n; i++) {
		struct snap_shmem *s;

		if (i < ntasks) {
			struct snap_task *t = d->kinds.tasks[i].t;

			d->pages_written += result(d, &o[i], t->mm, &t->pages);
			continue;
		}
		s = arena_alloc(d->kinds.a, sizeof(*s));
		s->shmid = shmem[i - ntasks]->shmid;
		d->shpages_written += result(d, &o[i], NULL, &s->pages);
		arena_add(d->kinds.a, &d->snap->shmem, &d->snap->nshmem, s);
	}
	for (size_t i = 0; i < n; i++) {
		close_fd(&o[i].src_fd);
		close_fd(&o[i].out.fd);
		pagemap_close(&o[i].pm);
		free(o[i].pieces);
		free(o[i].runs);
	}
	return err;
}
