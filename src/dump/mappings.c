/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of every task as entries of its mm image; guard pages are entries of their own, behind the others. What
 * the flags of a mapping add, or have refused, comes last where these are read beside the pages (outside.c).
 */
#include <inttypes.h>
#include <string.h>

#include "dump/dt.h"
#include "kern/pagemap.h"
#include "kind/vma.h"

static const uint64_t LARGE = 16 << 20;

static MmEntry *mm_of(struct dump *d, struct snap_task *t)
{
	if (!t->mm)
		t->mm = arena_msg(d->kinds.a, mm_entry, MmEntry);
	return t->mm;
}

static VmaEntry *add_vma(struct dump *d, MmEntry *mm, uint64_t start, uint64_t end)
{
	VmaEntry *v = arena_msg(d->kinds.a, vma_entry, VmaEntry);

	v->start = start;
	v->end = end;
	v->fd = -1;
	arena_add(d->kinds.a, &mm->vmas, &mm->n_vmas, v);
	return v;
}

/* Of an heir's GPU the addresses stay taken, as the driver keeps them in its own checkpoint. */
static bool is_reserve(const struct dump_task *t, const struct map *m)
{
	return t->gpu_heir && !strncmp(m->name, "/dev/nvidia", 11);
}

static int dump_map(struct dump *d, struct dump_task *t, const struct map *m)
{
	const struct map reserve = { .start_va = m->start_va, .end_va = m->end_va, .name = "" };
	VmaEntry *v = add_vma(d, mm_of(d, t->t), m->start_va, m->end_va);
	int covered;

	if (is_reserve(t, m))
		m = &reserve;
	v->prot = (uint32_t)m->prot;
	v->pgoff = m->file_off;
	for (size_t i = 0; kind_mems[i]; i++)
		if (kind_mems[i]->match(m)) {
			covered = kind_mems[i]->dump(&d->kinds, t, m, v);
			if (covered > 0)
				t->t->mm->n_vmas--;
			return covered < 0 ? covered : 0;
		}
	return err_say(ENOTSUP, "mapping %" PRIx64 "-%" PRIx64 " (%s) is not supported yet", m->start_va, m->end_va,
		       m->name);
}

/* Where pages are missing; large mappings in which none is are not walked once more. */
static int find_guards(const struct dump_task *t, const struct pagemap *pm, struct pagemap_runs *runs)
{
	uint64_t at = 0;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < t->nmaps; i++) {
		const struct map *m = &t->maps[i];

		if (m->end_va - m->start_va < LARGE || !map_full(m))
			continue;
		err = pagemap_scan(pm, &pagemap_guard, at, m->start_va, runs);
		at = m->end_va;
	}
	return err < 0 ? err : pagemap_scan(pm, &pagemap_guard, at, MAPS_END_VA, runs);
}

static int dump_guards(struct dump *d, struct dump_task *t)
{
	struct pagemap_runs runs = { 0 };
	struct pagemap pm;
	int err = pagemap_open(t->proc_fd, &pm);

	if (err < 0)
		return err;
	if (pm.guard)
		err = find_guards(t, &pm, &runs);
	for (size_t i = 0; err >= 0 && i < runs.n; i++)
		for (size_t k = 0; k < t->nmaps; k++) { /* a run may cross mappings: each range stays inside one */
			uint64_t from = runs.run[i].start_va, to = runs.run[i].end_va;

			from = from > t->maps[k].start_va ? from : t->maps[k].start_va;
			to = to < t->maps[k].end_va ? to : t->maps[k].end_va;
			if (from < to)
				add_vma(d, t->t->mm, from, to)->status = VMA_AREA_GUARD;
		}
	pagemap_runs_free(&runs);
	pagemap_close(&pm);
	return err;
}

static int in_task(int err, const struct dtask *k)
{
	return err_ctx(err, "task %d (%s)", k->t->pid, k->t->stat.comm);
}

static int refuse_maps(const struct dump_task *t)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < t->nmaps; i++)
		if (!is_reserve(t, &t->maps[i]))
			err = vma_refuse(&t->maps[i]);
	return err;
}

/* Each entry begins where its mapping does; a mapping may have none. */
static void add_flags(const struct dump_task *t)
{
	const MmEntry *mm = t->t->mm;

	for (size_t i = 0, k = 0; i < mm->n_vmas; i++) {
		while (t->maps[k].start_va != mm->vmas[i]->start)
			k++;
		if (!is_reserve(t, &t->maps[k]))
			vma_flags(&t->maps[k], mm->vmas[i]);
	}
}

/* The flags are there. */
static int take_flags(struct dump *d, struct dtask *k)
{
	add_flags(k->t);
	k->flags = FLAGS_TAKEN;
	return dump_guards(d, k->t);
}

static int dump_task(struct dump *d, struct dtask *k)
{
	struct dump_task *t = k->t;
	int err = k->flags == FLAGS_READ ? refuse_maps(t) : 0;

	mm_of(d, t->t);
	for (size_t i = 0; err >= 0 && i < t->nmaps; i++)
		err = dump_map(d, t, &t->maps[i]);
	return err >= 0 && k->flags == FLAGS_READ ? take_flags(d, k) : err;
}

int mappings_dump(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = in_task(dump_task(d, &d->tasks[i]), &d->tasks[i]);
	return err;
}

int mappings_flags(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++) {
		struct dtask *k = &d->tasks[i];

		if (k->flags == FLAGS_TAKEN)
			continue;
		err = refuse_maps(k->t);
		if (err >= 0)
			err = take_flags(d, k);
		err = in_task(err, k);
	}
	return err;
}
