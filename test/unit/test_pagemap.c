/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of page map entries (img/img_pagemap.h): what it takes means what it means to protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "img/img_pagemap.h"

enum { LEN_MAX = 64, ROUNDS = 300000 };

static uint64_t seed = 88172645463325252;

static uint64_t random_number(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static size_t put_number(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	for (; v > 0x7f; v >>= 7)
		p[n++] = (uint8_t)(v | 0x80);
	p[n++] = (uint8_t)v;
	return n;
}

/* Some fields in some order, most of them known, with numbers of any length. */
static size_t some_entry(uint8_t *p)
{
	static const uint32_t field[] = { 1, 2, 3, 4, 5, 10001, 1, 2, 6 };
	size_t n = 0;

	for (size_t left = random_number() % 7; left--;) {
		uint64_t v = random_number() >> random_number() % 64;

		n += put_number(p + n, (uint64_t)field[random_number() % (sizeof(field) / sizeof(field[0]))] << 3);
		n += put_number(p + n, random_number() % 2 ? v : v & 1);
		if (n > LEN_MAX - 20)
			break;
	}
	return n;
}

static void damage(uint8_t *p, size_t *n)
{
	if (*n && random_number() % 4 == 0)
		p[random_number() % *n] ^= (uint8_t)(1u << random_number() % 8);
	if (*n && random_number() % 8 == 0)
		--*n;
}

static void assert_alike(const PagemapEntry *e, const uint8_t *p, size_t len)
{
	PagemapEntry *want = pagemap_entry__unpack(NULL, len, p);

	assert_non_null(want);
	assert_int_equal(want->base.n_unknown_fields, 0);
	assert_memory_equal(&e->vaddr, &want->vaddr, sizeof(*e) - offsetof(PagemapEntry, vaddr));
	assert_ptr_equal(e->base.descriptor, want->base.descriptor);
	pagemap_entry__free_unpacked(want, NULL);
}

static void test_same_as_protobuf(void **state)
{
	struct arena *a = arena_new();
	struct img_pagemap_room room = { 0 };
	size_t taken = 0;

	(void)state;
	for (int i = 0; i < ROUNDS; i++) {
		uint8_t p[LEN_MAX];
		size_t len = some_entry(p);
		const PagemapEntry *e;

		damage(p, &len);
		e = img_pagemap_take(&room, a, p, len);
		if (e) {
			assert_alike(e, p, len);
			taken++;
		}
	}
	assert_in_range(taken, ROUNDS / 20, ROUNDS);
	arena_free(a);
}

/* What is written today must not go the slow way. */
static void test_takes_what_is_usual(void **state)
{
	struct arena *a = arena_new();
	struct img_pagemap_room room = { 0 };
	PagemapEntry in = PAGEMAP_ENTRY__INIT;
	uint8_t p[LEN_MAX];
	size_t len;

	(void)state;
	in.vaddr = 0x7ffffffff000;
	in.compat_nr_pages = 4096;
	in.has_flags = in.has_nr_pages = in.has_same = in.same = 1;
	in.flags = PE_PRESENT;
	in.nr_pages = UINT64_C(1) << 35;
	len = pagemap_entry__pack(&in, p);
	for (int i = 0; i < 2000; i++) {
		const PagemapEntry *e = img_pagemap_take(&room, a, p, len);

		assert_non_null(e);
		assert_alike(e, p, len);
	}
	arena_free(a);
}

static void test_leaves_the_rest(void **state)
{
	struct arena *a = arena_new();
	struct img_pagemap_room room = { 0 };

	(void)state;
	assert_null(img_pagemap_take(&room, a, (const uint8_t *)"", 0));                         /* nothing */
	assert_null(img_pagemap_take(&room, a, (const uint8_t *)"\x08\x01", 2));                 /* a field is missing */
	assert_null(img_pagemap_take(&room, a, (const uint8_t *)"\x08\x01\x10\x81", 4));         /* cut short */
	assert_null(img_pagemap_take(&room, a, (const uint8_t *)"\x08\x01\x10\x01\x30\x01", 6)); /* field 6 */
	assert_null(img_pagemap_take(&room, a, (const uint8_t *)"\x0d\x01\x10\x01", 4));         /* of another type */
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_protobuf),
		cmocka_unit_test(test_takes_what_is_usual),
		cmocka_unit_test(test_leaves_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
