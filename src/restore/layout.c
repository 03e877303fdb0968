/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of a restore (layout.h). Runs in the engine before anything is created.
 *
 * The hole must be free in all tasks at once, so that pointers in programs mean
 * the same everywhere, and in the engine, which writes the programs in place and
 * reads the board there. A 47-bit space always has such a gap in practice.
 */
#include "restore/layout.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"

static const uint64_t TOP = 0x7ffffffff000, GUARD = 2 << 20, HUGE = 2 << 20;

struct range {
	uint64_t start, end;
};

struct ranges {
	struct range *v;
	size_t n, cap;
};

static int add(struct ranges *rs, uint64_t start, uint64_t end)
{
	if (rs->n == rs->cap) {
		size_t cap = rs->cap ? 2 * rs->cap : 1024;
		struct range *more = realloc(rs->v, cap * sizeof(*more));

		if (!more)
			return err_set(ENOMEM, "list the mappings of the tree");
		rs->v = more;
		rs->cap = cap;
	}
	rs->v[rs->n++] = (struct range){ start, end };
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* The lowest gap above 4 GiB: far from what programs place low, and from stacks and libraries that grow down. */
static uint64_t gap_in(struct ranges *rs, uint64_t len)
{
	uint64_t at = UINT64_C(1) << 32;

	qsort(rs->v, rs->n, sizeof(*rs->v), by_start);
	for (size_t i = 0; i < rs->n; i++) {
		if (rs->v[i].end + GUARD <= at)
			continue;
		if (rs->v[i].start >= at + len + GUARD)
			return at;
		at = (rs->v[i].end + GUARD + HUGE - 1) & ~(HUGE - 1);
	}
	return at + len <= TOP - GUARD ? at : 0;
}

static int add_task(struct ranges *rs, const struct snap_task *t)
{
	const ThawGpuEntry *gpu = t->ncores && t->cores[0]->tc ? t->cores[0]->tc->thaw_gpu : NULL;

	/* what the driver of a GPU will map by itself */
	for (size_t i = 0; gpu && i < gpu->n_range_start; i++) {
		uint64_t start = gpu->range_start[i], len = i < gpu->n_range_len ? gpu->range_len[i] : 0;
		int err = start < TOP && len < TOP - start ? add(rs, start, start + len) : 0;

		if (err < 0)
			return err;
	}
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int err = v->start < TOP ? add(rs, v->start, v->end) : 0;

		if (err < 0)
			return err;
	}
	return 0;
}

static void find_vdso(struct layout *l, const struct map *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strncmp(m[i].name, "[vvar", 5) && strcmp(m[i].name, "[vdso]"))
			continue;
		if (l->npieces == LAYOUT_PIECES)
			return;
		if (!l->vdso_block_va)
			l->vdso_block_va = m[i].start_va;
		l->vdso_block_len = m[i].end_va - l->vdso_block_va;
		l->piece[l->npieces++] =
			(struct layout_piece){ m[i].start_va - l->vdso_block_va, m[i].end_va - m[i].start_va };
		if (!strcmp(m[i].name, "[vdso]")) {
			l->vdso_va = m[i].start_va;
			l->vdso_len = m[i].end_va - m[i].start_va;
		}
	}
}

static void lengths(const struct restoring *r, uint32_t workers, bool rings, uint64_t room, struct layout *l)
{
	size_t threads = 0, most = 0;
	uint64_t need = room + (64 << 20);

	for (size_t i = 0; i < r->snap->ntasks; i++) {
		const struct snap_task *t = r->snap->tasks[i];

		threads += t->ncores;
		most = t->ncores > most ? t->ncores : most;
		/* a run has an iovec and its share of a chunk, split at 2 MiB; a mapping or descriptor some records */
		need += t->pages.nextents * 96 + snap_chain_bytes(&t->pages) / (1 << 13);
		need += (t->mm ? t->mm->n_vmas : 0) * 1024 + t->nfds * 512;
	}
	need += threads * 32768; /* signal frame with all of AMX, records */
	l->space_len = (need + HUGE - 1) & ~(HUGE - 1);
	l->scratch_len = (most + LAYOUT_WORKERS + 2) * PIE_STACK;
	l->park_len = l->vdso_block_len;
	/* without workers the leader has one */
	l->staging_slots = rings ? 1 + PIE_SLOTS : 1;
	l->staging_len = (uint64_t)(workers ? workers : 1) * l->staging_slots * PIE_STAGING;
}

int layout_choose(struct restoring *r, uint32_t workers, bool rings, uint64_t room, struct layout *ret)
{
	auto_close int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct ranges rs = { 0 };
	struct layout l = { 0 };
	struct map *maps;
	size_t n;
	int err;

	if (self < 0)
		return err_set(errno, "open /proc/self");
	err = maps_read(self, MAPS_PLAIN, r->a, &maps, &n);
	for (size_t i = 0; err >= 0 && i < n; i++)
		err = add(&rs, maps[i].start_va, maps[i].end_va);
	for (size_t i = 0; err >= 0 && i < r->snap->ntasks; i++)
		err = add_task(&rs, r->snap->tasks[i]);
	if (err >= 0) {
		find_vdso(&l, maps, n);
		lengths(r, workers, rings, room, &l);
		l.hole_va = gap_in(&rs, l.space_len + l.scratch_len + l.park_len + HUGE + l.staging_len);
		if (!l.hole_va)
			err = err_say(ENOMEM, "no %" PRIu64 " MiB of addresses are free in all tasks at once",
				      (l.space_len + l.scratch_len) >> 20);
	}
	free(rs.v);
	if (err < 0)
		return err;
	l.scratch_va = l.hole_va + l.space_len;
	l.park_va = l.scratch_va + l.scratch_len;
	l.staging_va = (l.park_va + l.park_len + HUGE - 1) & ~(HUGE - 1);
	l.end_va = l.staging_va + l.staging_len;
	*ret = l;
	return 0;
}

uint64_t layout_gap(const struct layout *l, const struct snap_task *t, uint64_t len)
{
	struct ranges rs = { 0 };
	uint64_t at = 0;

	if (!add(&rs, l->hole_va, l->end_va) && !add_task(&rs, t))
		at = gap_in(&rs, len);
	free(rs.v);
	return at;
}
