/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of a large mapping, slice by slice (page_scan.h). */
#include "dump/page_scan.h"

#include "base/crew.h"

/* Longer ones of what is longer: it may be an address space that somebody reserved, with next to nothing in it. */
static const uint64_t SLICE = 64 << 20, SLICES = 256;

struct scan {
	const struct pagemap *pm;
	uint64_t start_va, end_va, slice;
	struct pagemap_runs *found; /* of each slice */
};

static int scan_slice(void *ctx, size_t i, struct arena *a)
{
	struct scan *s = ctx;
	uint64_t from = s->start_va + i * s->slice, to = s->end_va - from > s->slice ? from + s->slice : s->end_va;

	(void)a;
	return pagemap_scan(s->pm, &pagemap_anon, from, to, &s->found[i]);
}

int page_scan(const struct pagemap *pm, uint64_t start_va, uint64_t end_va, struct arena *a, struct pagemap_runs *out)
{
	uint64_t len = end_va - start_va, slice = len > SLICES * SLICE ? (len / SLICES / SLICE + 1) * SLICE : SLICE;
	size_t n = (len + slice - 1) / slice;
	struct scan s = { pm, start_va, end_va, slice, arena_alloc(a, n * sizeof(*s.found)) };
	int err = crew_finish(crew_start(a, n, scan_slice, &s));

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; err >= 0 && k < s.found[i].n; k++)
			err = pagemap_runs_add(out, &s.found[i].run[k]);
		pagemap_runs_free(&s.found[i]);
	}
	return err;
}
