/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting chunks (chunk.h). Two passes over the same rules: count, then write, so that the arrays are exact. */
#include "page/chunk.h"

struct cutter {
	struct pie_chunk *chunks; /* NULL in the counting pass */
	struct pie_iov *iovs;
	uint64_t iovs_va;
	uint32_t nchunks, niovs;
	struct pie_iov *ranges;
	uint32_t nranges;
	uint64_t range_end;       /* where the last range ends */
	uint64_t bytes;
	const struct chunk_rules *rules;
	size_t huge_at;           /* the first mapping of rules->huge that does not lie behind us */
	struct pie_chunk open;    /* the chunk being filled; len 0: none */
};

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

static void add_range(struct cutter *c, uint64_t va, uint64_t len)
{
	if (c->range_end == va && c->nranges) {
		if (c->ranges)
			c->ranges[c->nranges - 1].len += len;
	} else {
		if (c->ranges)
			c->ranges[c->nranges] = (struct pie_iov){ va, len };
		c->nranges++;
	}
	c->range_end = va + len;
}

/* One piece: huge, or within one 2 MiB range of addresses. */
static void put(struct cutter *c, uint64_t va, uint64_t off, uint32_t len, uint32_t file, bool huge)
{
	bool joins = !huge && c->open.len && c->open.off + c->open.len == off && c->open.len + len <= CHUNK_LEN &&
		     c->open.niovs < CHUNK_IOVS && len < CHUNK_LEN;

	if (!joins) {
		flush(c);
		c->open = (struct pie_chunk){ .off = off,
					      .file = file,
					      .iovs_va = c->iovs_va + c->niovs * sizeof(struct pie_iov) };
	}
	if (c->iovs)
		c->iovs[c->niovs] = (struct pie_iov){ va, len };
	c->niovs++;
	c->open.niovs++;
	c->open.len += len;
	if (!huge)
		return;
	c->open.huge = 1;
	flush(c);
}

/* How much from va on, at most left, are whole 2 MiB ranges of one mapping that may have huge pages. */
static uint64_t huge_len(struct cutter *c, uint64_t va, uint64_t left)
{
	const struct chunk_rules *u = c->rules;
	uint64_t len;

	while (c->huge_at < u->nhuge && u->huge[c->huge_at].va + u->huge[c->huge_at].len <= va)
		c->huge_at++;
	if (c->huge_at == u->nhuge || va < u->huge[c->huge_at].va || va % CHUNK_LEN)
		return 0;
	len = u->huge[c->huge_at].va + u->huge[c->huge_at].len - va;
	len = len < left ? len : left;
	len = len < PIE_STAGING ? len : PIE_STAGING;
	return len - len % CHUNK_LEN;
}

/* How far from va the next boundary is: of 2 MiB, or of the part to be skipped. */
static uint64_t piece_len(const struct cutter *c, uint64_t va, uint64_t left)
{
	const struct chunk_rules *u = c->rules;
	uint64_t len = CHUNK_LEN - va % CHUNK_LEN;

	if (va < u->skip_start && va + len > u->skip_start)
		len = u->skip_start - va;
	else if (va >= u->skip_start && va < u->skip_end && va + len > u->skip_end)
		len = u->skip_end - va;
	return len < left ? len : left;
}

/* The next piece of an extent at va: its length, and whether it is huge. */
static uint64_t next_len(struct cutter *c, uint64_t va, uint64_t left, bool *ret_huge)
{
	uint64_t huge = huge_len(c, va, left);

	*ret_huge = huge != 0;
	return huge ? huge : piece_len(c, va, left);
}

static void cut_extent(struct cutter *c, const struct snap_extent *e, uint32_t file)
{
	uint64_t len;
	bool huge;

	for (uint64_t done = 0; done < e->len; done += len) {
		uint64_t va = e->va + done;

		len = next_len(c, va, e->len - done, &huge);
		if (va < c->rules->skip_start || va >= c->rules->skip_end)
			put(c, va, e->off + done, (uint32_t)len, file, huge);
	}
}

/* One file after the other: what follows each other in one may lie apart in memory, with other files' pages between. */
static void cut(struct cutter *c, const struct snap_pages *p)
{
	for (uint32_t k = 0; k < p->nsources; k++) {
		c->huge_at = 0;
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
	bool huge;

	c->huge_at = 0;
	for (size_t i = 0; i < p->nextents; i++)
		for (uint64_t done = 0; done < p->extents[i].len; done += len) {
			len = next_len(c, p->extents[i].va + done, p->extents[i].len - done, &huge);
			if (huge)
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
	return out;
}
