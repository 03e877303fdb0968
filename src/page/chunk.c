/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting chunks (chunk.h). Two passes over the same rules: count, then write, so that the arrays are exact. */
#include "page/area.h"

struct cutter {
	const struct snap_pages *p;
	struct chunk_rules rules;
	const struct pie_iov *areas;
	size_t nareas;
	struct pie_chunk *chunks, *parts; /* NULL in the counting pass */
	struct pie_iov *iovs;
	uint64_t iovs_va, parts_va;
	uint32_t nchunks, nparts, niovs, ncompare;
	uint64_t bytes, copied;
	struct area_track area, watch, skip, compare;
	struct pie_chunk open; /* the chunk or part being filled; len 0: none */
};

static void add_iov(struct cutter *c, uint64_t va, uint64_t len)
{
	if (c->iovs)
		c->iovs[c->niovs] = (struct pie_iov){ va, len };
	c->niovs++;
	c->open.niovs++;
	c->open.len += (uint32_t)len;
}

static uint64_t next_iov_va(const struct cutter *c)
{
	return c->iovs_va + c->niovs * sizeof(struct pie_iov);
}

static void flush(struct cutter *c)
{
	if (!c->open.len)
		return;
	if (c->chunks)
		c->chunks[c->nchunks] = c->open;
	c->nchunks++;
	c->bytes += c->open.len;
	c->copied += c->open.how == PIE_COPY ? c->open.len : 0;
	c->ncompare += c->open.how == PIE_COMPARE;
	c->open.len = 0;
}

static void flush_part(struct cutter *c)
{
	if (!c->open.len)
		return;
	if (c->parts)
		c->parts[c->nparts] = c->open;
	c->nparts++;
	c->open.len = 0;
}

static bool follows(const struct cutter *c, uint64_t off)
{
	return c->open.len && c->open.off + c->open.len == off && c->open.niovs < CHUNK_IOVS;
}

/* ---- what lies outside of areas --------------------------------------------------------------------------------- */

/* One piece, within one 2 MiB range of addresses. */
static void put(struct cutter *c, uint64_t va, uint64_t off, uint32_t len, uint32_t file, enum pie_how how)
{
	if (!follows(c, off) || c->open.len + len > CHUNK_LEN || len == CHUNK_LEN || c->open.how != how) {
		flush(c);
		c->open = (struct pie_chunk){
			.off = off, .file = file, .how = (uint16_t)how, .iovs_va = next_iov_va(c)
		};
	}
	add_iov(c, va, len);
}

/* The next piece at va, of at most left bytes: its length, and how it is to be filled. false: not from here. */
static bool next_piece(struct cutter *c, uint64_t va, uint64_t left, uint64_t *ret_len, enum pie_how *ret_how)
{
	uint64_t most = CHUNK_LEN - va % CHUNK_LEN;
	bool others, compare;

	*ret_len = left;
	others = area_within(&c->area, va, ret_len);
	others |= area_within(&c->skip, va, ret_len);
	compare = area_within(&c->compare, va, ret_len);
	*ret_how = area_within(&c->watch, va, ret_len) ? PIE_COPY : PIE_IN_PLACE;
	if (compare)
		*ret_how = PIE_COMPARE;
	if (!others && *ret_len > most)
		*ret_len = most;
	return !others;
}

static void cut_extent(struct cutter *c, const struct snap_extent *e, uint32_t file)
{
	enum pie_how how;
	uint64_t len;

	for (uint64_t done = 0; done < e->len; done += len)
		if (next_piece(c, e->va + done, e->len - done, &len, &how))
			put(c, e->va + done, e->off + done, (uint32_t)len, file, how);
}

/* One file after the other: what follows each other in one may lie apart in memory, with other files' pages between. */
static void cut_rest(struct cutter *c)
{
	const struct chunk_rules *u = &c->rules;

	for (uint32_t k = 0; k < c->p->nsources; k++) {
		c->area = (struct area_track){ c->areas, c->nareas, 0 };
		c->watch = (struct area_track){ u->watch, u->nwatch, 0 };
		c->skip = (struct area_track){ u->skip, u->nskip, 0 };
		c->compare = (struct area_track){ u->compare, u->ncompare, 0 };
		for (size_t i = 0; i < c->p->nextents; i++)
			if (c->p->extents[i].source == k)
				cut_extent(c, &c->p->extents[i], k);
		flush(c);
	}
}

/* ---- areas ------------------------------------------------------------------------------------------------------ */

/* What of the extents [i, end) lies in an area. */
struct stretch {
	const struct pie_iov *area;
	size_t first, end;
};

static struct snap_extent clip(const struct snap_extent *e, const struct pie_iov *area)
{
	uint64_t va = e->va > area->va ? e->va : area->va, end = area->va + area->len;

	return (struct snap_extent){ va, (e->va + e->len < end ? e->va + e->len : end) - va, e->off + (va - e->va),
				     e->source };
}

static void put_part(struct cutter *c, const struct snap_extent *e)
{
	if (!e->len)
		return;
	if (!follows(c, e->off)) {
		flush_part(c);
		c->open = (struct pie_chunk){ .off = e->off, .file = e->source, .iovs_va = next_iov_va(c) };
	}
	add_iov(c, e->va, e->len);
}

/*
 * What one file has of it. If the file has other pages between two extents, in their places, they are older than what
 * belongs there: they may be read, too.
 */
static void put_layer(struct cutter *c, const struct stretch *s, uint32_t source)
{
	uint64_t most = c->rules.exact ? 0 : CHUNK_GAP;
	struct snap_extent span = { 0 };

	for (size_t i = s->first; i < s->end; i++) {
		struct snap_extent e = clip(&c->p->extents[i], s->area);

		if (e.source != source)
			continue;
		if (span.len && e.off - span.off == e.va - span.va && e.va - (span.va + span.len) <= most) {
			span.len = e.va + e.len - span.va;
			continue;
		}
		put_part(c, &span);
		span = e;
	}
	put_part(c, &span);
	flush_part(c);
}

/* The oldest images first. */
static void put_layers(struct cutter *c, const struct stretch *s)
{
	const struct snap_source *sources = c->p->sources;
	uint32_t deepest = 0;

	for (size_t i = s->first; i < s->end; i++)
		if (sources[c->p->extents[i].source].depth > deepest)
			deepest = sources[c->p->extents[i].source].depth;
	for (uint32_t depth = deepest + 1; depth-- > 0;)
		for (uint32_t k = 0; k < c->p->nsources; k++)
			if (sources[k].depth == depth)
				put_layer(c, s, k);
}

static void cut_area(struct cutter *c, const struct stretch *s)
{
	uint32_t niovs = c->niovs, nparts = c->nparts;
	struct pie_chunk k = { .how = PIE_MOVE, .niovs = 1, .len = (uint32_t)s->area->len, .iovs_va = next_iov_va(c),
			       .parts_va = c->parts_va + nparts * sizeof(struct pie_chunk) };

	add_iov(c, s->area->va, s->area->len);
	c->open.len = 0;
	put_layers(c, s);
	k.off = c->open.off; /* those of the last part */
	k.file = c->open.file;
	k.nparts = (uint16_t)(c->nparts - nparts);
	if (c->nparts == nparts + 1 && c->niovs == niovs + 2) { /* one read of all of it */
		c->nparts = nparts;
		c->niovs = niovs + 1;
		k.nparts = 0;
	}
	c->open = k;
	flush(c);
}

static void cut_areas(struct cutter *c)
{
	const struct snap_extent *e = c->p->extents;
	struct stretch s = { 0 };

	for (size_t i = 0; i < c->nareas; i++) {
		s.area = &c->areas[i];
		while (e[s.first].va + e[s.first].len <= s.area->va)
			s.first++;
		for (s.end = s.first; s.end < c->p->nextents && e[s.end].va < s.area->va + s.area->len;)
			s.end++;
		cut_area(c, &s);
	}
}

static void cut(struct cutter *c)
{
	cut_areas(c);
	cut_rest(c);
}

/* ---- what has to be watched ------------------------------------------------------------------------------------- */

struct ranges {
	struct pie_iov *v; /* NULL: they are counted */
	uint32_t n, ncut;
};

static void add_range(struct ranges *r, const struct pie_iov *v)
{
	if (r->v)
		r->v[r->n] = *v;
	r->n++;
}

/* Areas in mappings that are not watched as a whole. A range stays within one mapping (pie/page_place.c). */
static void collect_cut(const struct cutter *c, struct ranges *r)
{
	struct area_track huge = { c->rules.huge, c->rules.nhuge, 0 }, watch = { c->rules.watch, c->rules.nwatch, 0 };
	struct pie_iov open = { 0 };
	size_t mapping = 0;

	for (size_t i = 0; i < c->nareas; i++) {
		const struct pie_iov *a = &c->areas[i];
		uint64_t len = a->len;

		if (area_within(&watch, a->va, &len))
			continue;
		area_within(&huge, a->va, &len);
		if (open.len && open.va + open.len == a->va && mapping == huge.at) {
			open.len += a->len;
			continue;
		}
		if (open.len)
			add_range(r, &open);
		open = *a;
		mapping = huge.at;
	}
	if (open.len)
		add_range(r, &open);
	r->ncut = r->n;
}

/* Watched mappings that have pages. One range for a band of them: a call each takes a third as long as mapping it. */
static void add_whole(const struct chunk_rules *u, struct ranges *r, size_t last, size_t i)
{
	const struct pie_iov *v = &u->watch[i];

	if (last == u->nwatch || u->band[last] != u->band[i])
		add_range(r, v);
	else if (r->v)
		r->v[r->n - 1].len = v->va + v->len - r->v[r->n - 1].va;
}

static void collect_whole(const struct cutter *c, struct ranges *r)
{
	struct area_track watch = { c->rules.watch, c->rules.nwatch, 0 };
	size_t last = c->rules.nwatch;

	for (size_t i = 0; i < c->p->nextents; i++) {
		const struct snap_extent *e = &c->p->extents[i];
		uint64_t len;

		for (uint64_t va = e->va; va < e->va + e->len; va += len) {
			len = e->va + e->len - va;
			if (!area_within(&watch, va, &len) || watch.at == last)
				continue;
			add_whole(&c->rules, r, last, watch.at);
			last = watch.at;
		}
	}
}

static struct ranges collect(const struct cutter *c, struct pie_iov *v)
{
	struct ranges r = { .v = v };

	collect_cut(c, &r);
	collect_whole(c, &r);
	return r;
}

struct chunks chunks_cut(struct prog_space *s, const struct snap_pages *p, const struct chunk_rules *rules)
{
	struct cutter c = { .p = p, .rules = *rules, .nareas = areas_find(p, rules, NULL) }, w;
	struct pie_iov *areas = prog_alloc(s, c.nareas * sizeof(*areas), &(uint64_t){ 0 });
	struct chunks out = { 0 };
	struct ranges r;

	areas_find(p, rules, areas);
	c.areas = areas;
	w = c;
	cut(&c);
	if (c.copied < CHUNK_COPY_LEAST) {
		w.rules.nwatch = 0;
		c = w;
		cut(&c);
	}
	r = collect(&w, NULL);
	/* one more of each: cut_area() takes back what it turns out not to need */
	w.iovs = prog_alloc(s, (c.niovs + 1) * sizeof(*w.iovs), &w.iovs_va);
	w.parts = prog_alloc(s, (c.nparts + 1) * sizeof(*w.parts), &w.parts_va);
	w.chunks = prog_alloc(s, c.nchunks * sizeof(*w.chunks), &out.va);
	collect(&w, prog_alloc(s, r.n * sizeof(struct pie_iov), &out.ranges_va));
	cut(&w);
	out.n = w.nchunks;
	out.bytes = w.bytes;
	out.nranges = r.n;
	out.ncut = r.ncut;
	out.ncompare = w.ncompare;
	return out;
}
