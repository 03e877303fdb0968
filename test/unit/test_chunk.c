/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting memory into chunks: whatever the extents, every byte of each pages file goes to its own address, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "page/chunk.h"

enum { PAGES = 40000, SPACE = 64 << 20, FIRST = 1000, SOURCES = 3, MAPPINGS = 64, NOT_IN_FILE = -1 };

static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* Where a page's contents are. */
struct place {
	int32_t file_page;
	uint32_t source;
};

/* A task's memory from page FIRST on: where each page is, and in what kind of mapping it lies. */
struct memory {
	struct place place[PAGES], got[PAGES];
	uint32_t reads[PAGES];
	bool huge[PAGES], watched[PAGES], skipped[PAGES], compared[PAGES];
	struct pie_iov skip[64], compare[64], huge_map[MAPPINGS], watch_map[MAPPINGS], mapping[MAPPINGS];
	uint32_t band[MAPPINGS];
	size_t nmappings;
	struct snap_extent extent[PAGES];
	struct snap_source sources[SOURCES];
	struct snap_pages pages;
	struct chunk_rules rules;
};

static uint64_t va_of(size_t page)
{
	return (FIRST + page) * SNAP_PAGE;
}

static size_t page_of(uint64_t va)
{
	return va / SNAP_PAGE - FIRST;
}

static void make_mappings(struct memory *m)
{
	for (size_t at = any(600); at < PAGES && m->nmappings < MAPPINGS; at += any(3) ? any(900) : 0) {
		size_t len = 1 + any(6000);

		len = at + len > PAGES ? PAGES - at : len;
		m->mapping[m->nmappings++] = (struct pie_iov){ va_of(at), len * SNAP_PAGE };
		at += len;
	}
}

/* Ranges that are left out or compared, wherever mappings are: each page is one of them at most. */
static void make_inherited(struct memory *m)
{
	struct chunk_rules *u = &m->rules;

	for (size_t at = any(900); at < PAGES && u->nskip < 64 && u->ncompare < 64; at += any(2000)) {
		size_t len = 1 + any(any(2) ? 3 : 900);
		struct pie_iov v = { va_of(at), (len = at + len > PAGES ? PAGES - at : len) * SNAP_PAGE };
		bool skip = any(2);

		memset((skip ? m->skipped : m->compared) + at, 1, len);
		if (skip)
			m->skip[u->nskip++] = v;
		else
			m->compare[u->ncompare++] = v;
		at += len;
	}
	u->skip = m->skip;
	u->compare = m->compare;
}

/* Which mappings may have huge pages, and which are watched: none in which something is there already. */
static void make_rules(struct memory *m)
{
	struct chunk_rules *u = &m->rules;
	uint32_t band = 0;

	for (size_t i = 0; i < m->nmappings; i++) {
		const struct pie_iov *v = &m->mapping[i];
		size_t at = page_of(v->va), n = v->len / SNAP_PAGE;

		if (any(4)) {
			m->huge_map[u->nhuge++] = *v;
			memset(m->huge + at, 1, n);
		}
		if (any(2) && !memchr(m->skipped + at, 1, n) && !memchr(m->compared + at, 1, n)) {
			m->band[u->nwatch] = band;
			m->watch_map[u->nwatch++] = *v;
			memset(m->watched + at, 1, n);
		} else {
			band++;
		}
	}
	u->huge = m->huge_map;
	u->watch = m->watch_map;
	u->band = m->band;
	u->exact = any(2);
}

/* Each source has the pages it has, one after the other in its file; a page is that of the newest that has it. */
static void make_places(struct memory *m, uint32_t longest_gap, uint32_t longest_run)
{
	for (uint32_t k = 0; k < SOURCES; k++) {
		int32_t next = (int32_t)any(5);

		m->sources[k].depth = (k + 1) % SOURCES;
		for (size_t at = any(longest_gap); at < PAGES; at += any(longest_gap)) {
			for (size_t end = at + 1 + any(longest_run); at < end && at < PAGES; at++, next++) {
				struct place *p = &m->place[at];

				if (p->file_page == NOT_IN_FILE || m->sources[k].depth < m->sources[p->source].depth)
					*p = (struct place){ next, k };
			}
		}
		if (any(2))
			longest_gap = 1 + any(100), longest_run = 1 + any(4);
	}
}

static void make_extents(struct memory *m)
{
	struct snap_extent *e = NULL;

	for (size_t at = 0; at < PAGES; at++) {
		const struct place *p = &m->place[at];
		uint64_t off = (uint64_t)p->file_page * SNAP_PAGE;

		if (p->file_page == NOT_IN_FILE) {
			e = NULL;
		} else if (e && e->source == p->source && e->off + e->len == off && any(500)) {
			e->len += SNAP_PAGE;
		} else {
			e = &m->extent[m->pages.nextents++];
			*e = (struct snap_extent){ va_of(at), SNAP_PAGE, off, p->source };
		}
	}
	m->pages.extents = m->extent;
	m->pages.sources = m->sources;
	m->pages.nsources = SOURCES;
}

static struct memory *memory_new(uint32_t longest_gap, uint32_t longest_run)
{
	struct memory *m = calloc(1, sizeof(*m));

	for (size_t i = 0; i < PAGES; i++)
		m->place[i].file_page = NOT_IN_FILE;
	make_mappings(m);
	make_inherited(m);
	make_rules(m);
	make_places(m, longest_gap, longest_run);
	make_extents(m);
	return m;
}

/* One read, of a chunk or a part of one: notes what it leaves where. */
static void do_read(struct memory *m, const struct pie_chunk *r)
{
	const struct pie_iov *v = (const struct pie_iov *)r->iovs_va;
	uint64_t off = r->off;

	assert_true(r->file < SOURCES);
	assert_true(r->niovs >= 1 && r->niovs <= CHUNK_IOVS);
	for (uint32_t k = 0; k < r->niovs; k++) {
		assert_true(v[k].len > 0 && v[k].va % SNAP_PAGE == 0 && v[k].len % SNAP_PAGE == 0);
		for (uint64_t done = 0; done < v[k].len; done += SNAP_PAGE, off += SNAP_PAGE) {
			size_t page = page_of(v[k].va + done);

			assert_true(page < PAGES);
			m->got[page] = (struct place){ (int32_t)(off / SNAP_PAGE), r->file };
			m->reads[page]++;
		}
	}
	assert_int_equal(off, r->off + r->len);
}

/* Every page of it is filled as its mapping wants. `copies`: some are copied, so all that may be are. */
static void check_pages(const struct memory *m, const struct pie_chunk *c, bool copies)
{
	const struct pie_iov *v = (const struct pie_iov *)c->iovs_va;

	for (uint32_t k = 0; k < c->niovs; k++) {
		if (c->how == PIE_MOVE)
			assert_true(v->va % CHUNK_LEN == 0 && v->len % CHUNK_LEN == 0 && v->len <= PIE_STAGING);
		else
			assert_int_equal(v[k].va / CHUNK_LEN, (v[k].va + v[k].len - 1) / CHUNK_LEN);
		for (size_t i = page_of(v[k].va); i < page_of(v[k].va + v[k].len); i++) {
			assert_false(m->skipped[i]);
			assert_int_equal(c->how == PIE_COMPARE, m->compared[i]);
			assert_true(c->how != PIE_MOVE || m->huge[i]);
			assert_true(c->how == PIE_MOVE || (c->how == PIE_COPY) == (copies && m->watched[i]));
		}
	}
}

static void check_chunk(struct memory *m, const struct pie_chunk *c, bool copies)
{
	const struct pie_iov *v = (const struct pie_iov *)c->iovs_va;
	const struct pie_chunk *part = (const struct pie_chunk *)c->parts_va;

	check_pages(m, c, copies);
	assert_true(c->how == PIE_MOVE ? c->niovs == 1 : c->len <= CHUNK_LEN && !c->nparts);
	if (!c->nparts)
		do_read(m, c);
	for (uint32_t i = 0; i < c->nparts; i++) {
		const struct pie_iov *w = (const struct pie_iov *)part[i].iovs_va;

		for (uint32_t k = 0; k < part[i].niovs; k++)
			assert_true(w[k].va >= v->va && w[k].va + w[k].len <= v->va + v->len);
		do_read(m, &part[i]);
	}
}

static bool in_ranges(const struct pie_iov *range, uint32_t n, const struct pie_iov *v)
{
	uint32_t at = 0;

	while (at < n && (v->va < range[at].va || v->va + v->len > range[at].va + range[at].len))
		at++;
	return at < n;
}

/* From the start of one mapping to the end of one, all of one band: no other can lie between. */
static void check_band(const struct memory *m, const struct pie_iov *range)
{
	size_t first = 0, last;

	while (first < m->rules.nwatch && m->watch_map[first].va != range->va)
		first++;
	for (last = first; last < m->rules.nwatch && m->watch_map[last].va + m->watch_map[last].len <
	     range->va + range->len;)
		last++;
	assert_true(last < m->rules.nwatch);
	assert_int_equal(m->watch_map[last].va + m->watch_map[last].len, range->va + range->len);
	assert_int_equal(m->band[first], m->band[last]);
}

/* All that is moved or copied is watched, nothing else is, and each range is of one band or consists of areas. */
static void check_ranges(const struct memory *m, const struct chunks *out)
{
	const struct pie_iov *range = (const struct pie_iov *)out->ranges_va;
	const struct pie_chunk *c = (const struct pie_chunk *)out->va;
	uint64_t moved = 0, cut = 0;

	for (uint32_t i = 0; i < out->n; i++) {
		const struct pie_iov *v = (const struct pie_iov *)c[i].iovs_va;
		bool placed = c[i].how == PIE_MOVE || c[i].how == PIE_COPY;

		for (uint32_t k = 0; k < c[i].niovs; k++)
			assert_int_equal(in_ranges(range, out->nranges, &v[k]), placed);
		moved += c[i].how == PIE_MOVE && in_ranges(range, out->ncut, v) ? v->len : 0;
	}
	for (uint32_t i = 0; i < out->ncut; i++)
		cut += range[i].len;
	assert_int_equal(moved, cut);
	for (uint32_t i = out->ncut; i < out->nranges; i++)
		check_band(m, &range[i]);
	for (uint32_t i = 1; i < out->nranges; i++)
		assert_true(i == out->ncut || range[i].va >= range[i - 1].va + range[i - 1].len);
}

static void check(struct memory *m, struct prog_space *s)
{
	struct chunks out = chunks_cut(s, &m->pages, &m->rules);
	const struct pie_chunk *c = (const struct pie_chunk *)out.va;
	uint64_t bytes = 0, copied = 0;
	uint32_t ncompare = 0;

	assert_int_equal(prog_space_full(s), 0);
	for (uint32_t i = 0; i < out.n; i++)
		copied += c[i].how == PIE_COPY ? c[i].len : 0;
	assert_true(!copied || copied >= CHUNK_COPY_LEAST);
	for (uint32_t i = 0; i < out.n; i++) {
		check_chunk(m, &c[i], copied);
		bytes += c[i].len;
		ncompare += c[i].how == PIE_COMPARE;
	}
	assert_int_equal(ncompare, out.ncompare);
	assert_int_equal(bytes, out.bytes);
	for (size_t i = 0; i < PAGES; i++) {
		bool wanted = m->place[i].file_page != NOT_IN_FILE && !m->skipped[i];

		assert_true(wanted ? m->reads[i] >= 1 : !m->reads[i]);
		assert_true(m->reads[i] <= (m->rules.exact ? 1 : SOURCES));
		bytes -= wanted ? SNAP_PAGE : 0;
		if (wanted)
			assert_memory_equal(&m->got[i], &m->place[i], sizeof(m->got[i]));
	}
	assert_int_equal(bytes, 0);
	check_ranges(m, &out);
}

static void every_byte_once(void **state)
{
	static const uint32_t shape[][2] = {{5, 3}, {2, 1}, {50, 4000}, {3000, 3}, {1, 20000}, {700, 700}};

	(void)state;
	for (seed = 1; seed < 61;) {
		uint32_t round = seed;
		struct arena *a = arena_new();
		void *map =
			mmap(NULL, SPACE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		struct prog_space s;
		struct memory *m;

		assert_int_equal(prog_space_init(&s, a, map, (uint64_t)map, SPACE), 0);
		m = memory_new(shape[round % 6][0] + 1, shape[round % 6][1]);
		check(m, &s);
		prog_space_done(&s);
		munmap(map, SPACE);
		arena_free(a);
		free(m);
		seed = round + 1;
	}
}

static void nothing(void **state)
{
	struct arena *a = arena_new();
	uint8_t *map = calloc(1, SNAP_PAGE);
	struct chunk_rules rules = { 0 };
	struct snap_pages none = { 0 };
	struct prog_space s;
	struct chunks out;

	(void)state;
	assert_int_equal(prog_space_init(&s, a, map, (uint64_t)map, SNAP_PAGE), 0);
	out = chunks_cut(&s, &none, &rules);
	assert_int_equal(out.n, 0);
	assert_int_equal(out.bytes, 0);
	prog_space_done(&s);
	arena_free(a);
	free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_byte_once), cmocka_unit_test(nothing) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
