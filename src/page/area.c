/* SPDX-License-Identifier: Apache-2.0 */
/* Finding areas (area.h): runs of pages that follow each other in memory, cut down to whole ranges. */
#include "page/area.h"

struct finder {
	struct area_track huge, skip, compare;
	struct pie_iov *areas; /* NULL: they are counted */
	size_t n;
	uint64_t start, end;   /* the run so far */
	size_t mapping;        /* of rules->huge, in which it lies */
};

bool area_within(struct area_track *t, uint64_t va, uint64_t *len)
{
	const struct pie_iov *v;
	uint64_t left;

	while (t->at < t->n && t->v[t->at].va + t->v[t->at].len <= va)
		t->at++;
	if (t->at == t->n)
		return false;
	v = &t->v[t->at];
	left = v->va > va ? v->va - va : v->va + v->len - va;
	*len = left < *len ? left : *len;
	return v->va <= va;
}

static void end_run(struct finder *f)
{
	uint64_t at = (f->start + CHUNK_LEN - 1) / CHUNK_LEN * CHUNK_LEN, end = f->end / CHUNK_LEN * CHUNK_LEN, len;

	for (; at < end; at += len) {
		len = end - at < PIE_STAGING ? end - at : PIE_STAGING;
		if (f->areas)
			f->areas[f->n] = (struct pie_iov){ at, len };
		f->n++;
	}
	f->start = f->end = 0;
}

static void add(struct finder *f, uint64_t va, uint64_t len)
{
	if (f->end != va || f->mapping != f->huge.at) {
		end_run(f);
		f->start = va;
		f->mapping = f->huge.at;
	}
	f->end = va + len;
}

size_t areas_find(const struct snap_pages *p, const struct chunk_rules *rules, struct pie_iov *ret)
{
	struct finder f = { .huge = { rules->huge, rules->nhuge, 0 },
			    .skip = { rules->skip, rules->nskip, 0 },
			    .compare = { rules->compare, rules->ncompare, 0 },
			    .areas = ret };

	for (size_t i = 0; i < p->nextents; i++) {
		const struct snap_extent *e = &p->extents[i];
		uint64_t len;

		for (uint64_t va = e->va; va < e->va + e->len; va += len) {
			bool huge, taken;

			len = e->va + e->len - va;
			huge = area_within(&f.huge, va, &len);
			taken = area_within(&f.skip, va, &len);
			taken |= area_within(&f.compare, va, &len);
			if (huge && !taken)
				add(&f, va, len);
		}
	}
	end_run(&f);
	return f.n;
}
