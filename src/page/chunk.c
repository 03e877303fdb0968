/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting chunks (chunk.h). Two passes over the same rules: count, then write, so that the arrays are exact. */
#include "page/chunk.h"

/* A list of ranges that is walked along with the addresses. */
struct track {
	const struct pie_iov *v;
	size_t n, at; /* at: the first that does not lie behind us */
};

struct cutter {
	struct pie_chunk *chunks; /* NULL in the counting pass */
	struct pie_iov *iovs;
	uint64_t iovs_va;
	uint32_t nchunks, niovs, ncompare;
	struct pie_iov *ranges;
	uint32_t nranges;
	uint64_t range_end;       /* where the last range ends */
	size_t range_of;          /* the number of its mapping */
	uint64_t bytes;
	const struct chunk_rules *rules;
	struct track huge, skip, compare;
	struct pie_chunk open;    /* the chunk being filled; len 0: none */
};

/* How a piece is to be filled. */
enum how { PLAIN, HUGE, COMPARE, SKIP };

static void flush(struct cutter *c)
{
	if (!c->open.len)
		return;
	if (c->chunks)
		c->chunks[c->nchunks] = c->open;
	c->nchunks++;
	c->bytes += c->open.len;
	c->open.len = 0;
}

/* A range stays within one mapping: whoever watches it has to prepare each mapping (pie/page_place.c). */
static void add_range(struct cutter *c, uint64_t va, uint64_t len)
{
	if (c->range_end == va && c->nranges && c->range_of == c->huge.at) {
		if (c->ranges)
			c->ranges[c->nranges - 1].len += len;
	} else {
		if (c->ranges)
			c->ranges[c->nranges] = (struct pie_iov){ va, len };
		c->nranges++;
	}
	c->range_end = va + len;
	c->range_of = c->huge.at;
}

/* One piece: huge, or within one 2 MiB range of addresses. */
static void put(struct cutter *c, uint64_t va, uint64_t off, uint32_t len, uint32_t file, enum how how)
{
	bool joins = how != HUGE && c->open.len && c->open.off + c->open.len == off &&
		     c->open.len + len <= CHUNK_LEN && c->open.niovs < CHUNK_IOVS && len < CHUNK_LEN &&
		     c->open.compare == (how == COMPARE);

	if (!joins) {
		flush(c);
		c->open = (struct pie_chunk){ .off = off,
					      .file = file,
					      .huge = how == HUGE,
					      .compare = how == COMPARE,
					      .iovs_va = c->iovs_va + c->niovs * sizeof(struct pie_iov) };
		c->ncompare += how == COMPARE;
	}
	if (c->iovs)
		c->iovs[c->niovs] = (struct pie_iov){ va, len };
	c->niovs++;
	c->open.niovs++;
	c->open.len += len;
	if (how == HUGE)
		flush(c);
}

/* Whether va is in one of the ranges; *len comes down to where that changes. */
static bool within(struct track *t, uint64_t va, uint64_t *len)
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

/* The next piece at va, of at most left bytes: its length, and how it is to be filled. */
static uint64_t next_len(struct cutter *c, uint64_t va, uint64_t left, enum how *ret_how)
{
	uint64_t len = left, most = CHUNK_LEN - va % CHUNK_LEN, huge = 0;
	bool skip = within(&c->skip, va, &len), compare = within(&c->compare, va, &len);

	*ret_how = skip ? SKIP : compare ? COMPARE : PLAIN;
	if (skip)
		return len;
	if (!compare && !(va % CHUNK_LEN)) {
		huge = len < PIE_STAGING ? len : PIE_STAGING;
		huge = within(&c->huge, va, &huge) ? huge - huge % CHUNK_LEN : 0;
	}
	if (huge)
		*ret_how = HUGE;
	return huge ? huge : len < most ? len : most;
}

static void cut_extent(struct cutter *c, const struct snap_extent *e, uint32_t file)
{
	uint64_t len;
	enum how how;

	for (uint64_t done = 0; done < e->len; done += len) {
		len = next_len(c, e->va + done, e->len - done, &how);
		if (how != SKIP)
			put(c, e->va + done, e->off + done, (uint32_t)len, file, how);
	}
}

static void rewind_tracks(struct cutter *c)
{
	const struct chunk_rules *u = c->rules;

	c->huge = (struct track){ u->huge, u->nhuge, 0 };
	c->skip = (struct track){ u->skip, u->nskip, 0 };
	c->compare = (struct track){ u->compare, u->ncompare, 0 };
}

/* One file after the other: what follows each other in one may lie apart in memory, with other files' pages between. */
static void cut(struct cutter *c, const struct snap_pages *p)
{
	for (uint32_t k = 0; k < p->nsources; k++) {
		rewind_tracks(c);
		for (size_t i = 0; i < p->nextents; i++)
			if (p->extents[i].source == k)
				cut_extent(c, &p->extents[i], k);
		flush(c);
	}
}

/* The ranges of all huge chunks, by address. */
static void collect_ranges(struct cutter *c, const struct snap_pages *p)
{
	uint64_t len;
	enum how how;

	rewind_tracks(c);
	for (size_t i = 0; i < p->nextents; i++)
		for (uint64_t done = 0; done < p->extents[i].len; done += len) {
			len = next_len(c, p->extents[i].va + done, p->extents[i].len - done, &how);
			if (how == HUGE)
				add_range(c, p->extents[i].va + done, len);
		}
}

struct chunks chunks_cut(struct prog_space *s, const struct snap_pages *p, const struct chunk_rules *rules)
{
	struct cutter c = { .rules = rules }, w = { .rules = rules };
	struct chunks out;

	cut(&c, p);
	collect_ranges(&c, p);
	w.iovs = prog_alloc(s, c.niovs * sizeof(*w.iovs), &w.iovs_va);
	w.chunks = prog_alloc(s, c.nchunks * sizeof(*w.chunks), &out.va);
	w.ranges = prog_alloc(s, c.nranges * sizeof(*w.ranges), &out.ranges_va);
	cut(&w, p);
	collect_ranges(&w, p);
	out.n = w.nchunks;
	out.bytes = w.bytes;
	out.nranges = w.nranges;
	out.ncompare = w.ncompare;
	return out;
}
