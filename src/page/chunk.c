/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting chunks (chunk.h). Two passes over the same rules: count, then write, so that the arrays are exact. */
#include "page/chunk.h"

struct cutter {
	struct pie_chunk *chunks; /* NULL in the counting pass */
	struct pie_iov *iovs;
	uint64_t iovs_va;
	uint32_t nchunks, niovs;
	uint64_t bytes, skip_start, skip_end;
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

/* One piece that lies within one 2 MiB range of addresses. */
static void put(struct cutter *c, uint64_t va, uint64_t off, uint32_t len, uint32_t file)
{
	bool joins = c->open.len && c->open.off + c->open.len == off && c->open.len + len <= CHUNK_LEN &&
		     c->open.niovs < CHUNK_IOVS && len < CHUNK_LEN;

	if (!joins) {
		flush(c);
		c->open = (struct pie_chunk){ .off = off, .file = file, .iovs_va = c->iovs_va + c->niovs * sizeof(struct pie_iov) };
	}
	if (c->iovs)
		c->iovs[c->niovs] = (struct pie_iov){ va, len };
	c->niovs++;
	c->open.niovs++;
	c->open.len += len;
}

/* How far from va the next boundary is: of 2 MiB, or of the part to be skipped. */
static uint64_t piece_len(const struct cutter *c, uint64_t va, uint64_t left)
{
	uint64_t len = CHUNK_LEN - va % CHUNK_LEN;

	if (va < c->skip_start && va + len > c->skip_start)
		len = c->skip_start - va;
	else if (va >= c->skip_start && va < c->skip_end && va + len > c->skip_end)
		len = c->skip_end - va;
	return len < left ? len : left;
}

static void cut(struct cutter *c, const struct snap_pages *p, uint32_t file)
{
	uint64_t off = 0;

	for (size_t i = 0; i < p->nruns; i++) {
		uint64_t va = p->runs[i]->vaddr, left = p->runs[i]->nr_pages * SNAP_PAGE;

		if (!(p->runs[i]->flags & PE_PRESENT))
			continue;
		while (left) {
			uint64_t len = piece_len(c, va, left);

			if (va < c->skip_start || va >= c->skip_end)
				put(c, va, off, (uint32_t)len, file);
			va += len;
			off += len;
			left -= len;
		}
	}
	flush(c);
}

struct chunks chunks_cut(struct prog_space *s, const struct snap_pages *p, uint32_t file, uint64_t skip_start,
			 uint64_t skip_end)
{
	struct cutter c = { .skip_start = skip_start, .skip_end = skip_end };
	struct chunks out;

	cut(&c, p, file);
	c.iovs = prog_alloc(s, c.niovs * sizeof(*c.iovs), &c.iovs_va);
	c.chunks = prog_alloc(s, c.nchunks * sizeof(*c.chunks), &out.va);
	c.niovs = c.nchunks = 0;
	c.bytes = 0;
	cut(&c, p, file);
	out.n = c.nchunks;
	out.bytes = c.bytes;
	return out;
}
