/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task's memory by kind of mapping (show.h). Mappings and runs of pages are
 * walked side by side in address order, as a merge: this also runs on images that
 * snap_check() refused half-way, so nothing is taken for granted but that it ends.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cli/show.h"

const char *show_memory_name(enum show_mem m)
{
	static const char *const name[SHOW_MEMS] = {
		"private anonymous", "heap", "stack", "file, private", "file, shared", "shared anonymous", "memfd",
		"vdso, vvar", "other", "guard pages",
	};

	return name[m];
}

uint64_t show_mapped(const struct show_memory *m)
{
	uint64_t bytes = 0;

	for (enum show_mem k = 0; k < SHOW_GUARD; k++)
		bytes += m[k].mapped;
	return bytes;
}

uint64_t show_same(const struct show_memory *m)
{
	uint64_t bytes = 0;

	for (enum show_mem k = 0; k < SHOW_MEMS; k++)
		bytes += m[k].same;
	return bytes;
}

/* Shared anonymous memory is a memfd of this name on the wire. */
static bool is_anonymous_file(const struct snap *s, const VmaEntry *v)
{
	const FileEntry *e = v->shmid <= UINT32_MAX ? snap_file(s, (uint32_t)v->shmid) : NULL;
	const struct img_msgs *l = &s->list[IMG_MEMFD];

	for (size_t i = 0; e && e->memfd && i < l->n; i++) {
		const MemfdInodeEntry *m = (const MemfdInodeEntry *)l->v[i].msg;

		if (m->inode_id == e->memfd->inode_id)
			return !strcmp(m->name, "/dev/zero");
	}
	return false;
}

static bool is_stack(const MmEntry *mm, const VmaEntry *v)
{
	return v->status & VMA_AREA_STACK || (v->flags & MAP_GROWSDOWN && v->status & VMA_ANON_PRIVATE) ||
	       (mm->mm_start_stack >= v->start && mm->mm_start_stack < v->end && v->status & VMA_ANON_PRIVATE);
}

static enum show_mem classify(const struct snap *s, const MmEntry *mm, const VmaEntry *v)
{
	if (v->status & VMA_AREA_GUARD)
		return SHOW_GUARD;
	if (v->status & (VMA_AREA_VDSO | VMA_AREA_VVAR | VMA_AREA_VSYSCALL))
		return SHOW_VDSO;
	if (v->status & VMA_AREA_HEAP)
		return SHOW_HEAP;
	if (is_stack(mm, v))
		return SHOW_STACK;
	if (v->status & VMA_AREA_MEMFD)
		return is_anonymous_file(s, v) ? SHOW_SHARED : SHOW_MEMFD;
	if (v->status & VMA_ANON_SHARED)
		return SHOW_SHARED;
	if (v->status & VMA_FILE_PRIVATE)
		return SHOW_FILE_PRIVATE;
	if (v->status & VMA_FILE_SHARED)
		return SHOW_FILE_SHARED;
	return v->status & VMA_ANON_PRIVATE ? SHOW_PRIVATE : SHOW_OTHER;
}

static uint64_t run_end(const PagemapEntry *e)
{
	uint64_t most = (UINT64_MAX - e->vaddr) / SNAP_PAGE;

	return e->vaddr + (e->nr_pages < most ? e->nr_pages : most) * SNAP_PAGE;
}

/* Counts the bytes of the runs within v. *at only moves forward; runs that reach beyond v stay for the next. */
static void count_image(const struct snap_pages *p, size_t *at, const VmaEntry *v, struct show_memory *m)
{
	for (; *at < p->nruns && p->runs[*at]->vaddr < v->end; ++*at) {
		const PagemapEntry *e = p->runs[*at];
		uint64_t start = e->vaddr > v->start ? e->vaddr : v->start;
		uint64_t end = run_end(e) < v->end ? run_end(e) : v->end;

		if (start < end && e->flags & PE_PRESENT)
			m->image += end - start;
		if (start < end && e->same)
			m->same += end - start;
		if (run_end(e) > v->end)
			break;
	}
}

static int by_start(const void *a, const void *b)
{
	const VmaEntry *x = *(VmaEntry *const *)a, *y = *(VmaEntry *const *)b;

	return (x->start > y->start) - (x->start < y->start);
}

void show_memory(const struct snap *s, const struct snap_task *t, struct show_memory *ret)
{
	size_t n = t->mm->n_vmas, at = 0;
	VmaEntry **v = arena_memdup(s->a, t->mm->vmas, n * sizeof(*v));

	memset(ret, 0, SHOW_MEMS * sizeof(*ret));
	if (n)
		qsort(v, n, sizeof(VmaEntry *), by_start);
	for (size_t i = 0; i < n; i++) {
		struct show_memory *m = &ret[classify(s, t->mm, v[i])];

		m->mappings++;
		m->mapped += v[i]->end - v[i]->start;
		if (!(v[i]->status & VMA_AREA_GUARD))
			count_image(&t->pages, &at, v[i], m);
	}
}

static uint64_t held_by(const struct snap_pages *p, uint32_t depth)
{
	uint64_t len = 0;

	for (size_t i = 0; i < p->nextents; i++)
		if (p->sources[p->extents[i].source].depth == depth)
			len += p->extents[i].len;
	return len;
}

uint64_t show_held_by(const struct snap *s, uint32_t depth)
{
	uint64_t len = 0;

	for (size_t i = 0; i < s->ntasks; i++)
		len += held_by(&s->tasks[i]->pages, depth);
	for (size_t i = 0; i < s->nshmem; i++)
		len += held_by(&s->shmem[i]->pages, depth);
	return len;
}

uint64_t show_gpu(const struct snap_task *t, size_t *ret_n)
{
	const TaskCoreEntry *tc = t->ncores ? t->cores[0]->tc : NULL;
	const ThawGpuEntry *e = tc ? tc->thaw_gpu : NULL;
	uint64_t bytes = 0;

	*ret_n = e ? e->n_piece : 0;
	for (size_t i = 0; i < *ret_n; i++)
		bytes += e->piece[i]->len;
	if (e && e->has_lent_len) {
		bytes += e->lent_len;
		++*ret_n;
	}
	return bytes;
}
