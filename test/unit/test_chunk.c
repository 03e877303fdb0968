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

enum { PAGES = 40000, RUNS = 2000, SPACE = 64 << 20, FIRST = 1000, SOURCES = 3, NOT_IN_FILE = -1 };

static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* A task's memory from page FIRST on: where in the file each page is, and whether it lies in a mapping that may be
 * huge. */
struct memory {
	int32_t file_page[PAGES];
	bool huge[PAGES], skipped[PAGES], compared[PAGES];
	struct pie_iov skip[64], compare[64];
	uint8_t source[PAGES];
	struct snap_extent extent[RUNS];
	struct snap_source sources[SOURCES];
	struct snap_pages pages;
	struct pie_iov mapping[64];
	struct chunk_rules rules;
	uint32_t file_pages[SOURCES];
};

static uint64_t va_of(size_t page)
{
	return (FIRST + page) * SNAP_PAGE;
}

static void make_mappings(struct memory *m)
{
	struct chunk_rules *u = &m->rules;

	for (size_t at = any(600); at < PAGES && u->nhuge < 64; at += any(900)) {
		size_t len = 1 + any(6000);

		len = at + len > PAGES ? PAGES - at : len;
		m->mapping[u->nhuge++] = (struct pie_iov){ va_of(at), len * SNAP_PAGE };
		memset(m->huge + at, 1, len);
		at += len;
	}
	u->huge = m->mapping;
}

/* Ranges that are left out or compared, wherever mappings are: each page is one of them at most. */
static void make_inherited(struct memory *m)
{
	struct chunk_rules *u = &m->rules;

	for (size_t at = any(900); at < PAGES && u->nskip < 64 && u->ncompare < 64; at += any(900)) {
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

/* The pages of each source follow each other in its file; a gap now and then, of pages that newer images hold. */
static void make_extents(struct memory *m, uint32_t longest_gap, uint32_t longest_run)
{
	for (size_t at = any(longest_gap), n = 0; at < PAGES && n < RUNS; n++) {
		uint32_t len = 1 + any(longest_run), source = any(SOURCES);

		len = at + len > PAGES ? (uint32_t)(PAGES - at) : len;
		m->file_pages[source] += any(3) ? 0 : any(5);
		m->extent[n] = (struct snap_extent){ va_of(at), (uint64_t)len * SNAP_PAGE,
						     (uint64_t)m->file_pages[source] * SNAP_PAGE, source };
		for (size_t k = 0; k < len; k++) {
			m->file_page[at + k] = (int32_t)m->file_pages[source]++;
			m->source[at + k] = (uint8_t)source;
		}
		m->pages.nextents++;
		at += len + any(longest_gap);
	}
	m->pages.extents = m->extent;
	m->pages.sources = m->sources;
	m->pages.nsources = SOURCES;
}

static struct memory *memory_new(uint32_t longest_gap, uint32_t longest_run)
{
	struct memory *m = calloc(1, sizeof(*m));

	for (size_t i = 0; i < PAGES; i++)
		m->file_page[i] = NOT_IN_FILE;
	make_mappings(m);
	make_inherited(m);
	make_extents(m, longest_gap, longest_run);
	return m;
}

/* One piece of a chunk, whose bytes begin at off in the file. */
static void check_piece(struct memory *m, const struct pie_iov *v, uint64_t off, const struct pie_chunk *c)
{
	assert_int_equal(v->va % SNAP_PAGE, 0);
	assert_int_equal(v->len % SNAP_PAGE, 0);
	assert_true(v->len > 0 && off % SNAP_PAGE == 0);
	if (c->huge)
		assert_true(v->va % CHUNK_LEN == 0 && v->len % CHUNK_LEN == 0 && v->len <= PIE_STAGING);
	else
		assert_int_equal(v->va / CHUNK_LEN, (v->va + v->len - 1) / CHUNK_LEN);
	for (uint64_t k = 0; k < v->len / SNAP_PAGE; k++) {
		size_t page = v->va / SNAP_PAGE - FIRST + k;

		assert_true(page < PAGES);
		assert_false(m->skipped[page]);
		assert_true(!c->huge || m->huge[page]);
		assert_int_equal(c->compare, m->compared[page]);
		assert_int_equal(m->source[page], c->file);
		assert_int_equal(m->file_page[page], off / SNAP_PAGE + k);
		m->file_page[page] = NOT_IN_FILE; /* once */
	}
}

static void check_ranges(const struct pie_iov *range, uint32_t nranges, const struct pie_chunk *c, uint32_t n)
{
	uint64_t huge = 0, watched = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct pie_iov *v = (const struct pie_iov *)c[i].iovs_va;
		uint32_t at = 0;

		if (!c[i].huge)
			continue;
		while (at < nranges && range[at].va + range[at].len <= v->va)
			at++;
		assert_true(at < nranges && v->va >= range[at].va && v->va + v->len <= range[at].va + range[at].len);
		huge += v->len;
	}
	for (uint32_t i = 0; i < nranges; i++)
		watched += range[i].len;
	assert_int_equal(huge, watched);
	for (uint32_t i = 1; i < nranges; i++)
		assert_true(range[i].va >= range[i - 1].va + range[i - 1].len);
}

static void check(struct memory *m, struct prog_space *s)
{
	struct chunks out = chunks_cut(s, &m->pages, &m->rules);
	const struct pie_chunk *c = (const struct pie_chunk *)out.va;
	uint64_t bytes = 0;
	uint32_t ncompare = 0;

	assert_int_equal(prog_space_full(s), 0);
	for (uint32_t i = 0; i < out.n; i++) {
		const struct pie_iov *v = (const struct pie_iov *)c[i].iovs_va;
		uint64_t off = c[i].off;

		assert_true(c[i].file < SOURCES);
		assert_true(c[i].niovs >= 1 && c[i].niovs <= CHUNK_IOVS);
		assert_true(c[i].huge ? c[i].niovs == 1 : c[i].len <= CHUNK_LEN);
		for (uint32_t k = 0; k < c[i].niovs; k++) {
			check_piece(m, &v[k], off, &c[i]);
			off += v[k].len;
		}
		assert_int_equal(off, c[i].off + c[i].len);
		bytes += c[i].len;
		ncompare += c[i].compare;
	}
	assert_int_equal(ncompare, out.ncompare);
	assert_int_equal(bytes, out.bytes);
	for (size_t i = 0; i < PAGES; i++)
		assert_true(m->file_page[i] == NOT_IN_FILE || m->skipped[i]);
	check_ranges((const struct pie_iov *)out.ranges_va, out.nranges, c, out.n);
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
