/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The books of large GPU allocations (src/preload/heap.c) against a model: an array of bytes, one for each page of
 * address space, in which every block has written who it is. Threads have a heap each, as contexts do.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "preload/heap.h"

enum { PAGES = 4096, BLOCKS = 400, STEPS = 250000, THREADS = 4 };
#define BASE 0x7f0000000000ull

struct model {
	struct heap heap;
	uint16_t owner[PAGES];   /* block + 1; 0: free */
	uint8_t backed[PAGES];   /* physical memory is there */
	struct {
		uint64_t va, bytes;
	} block[BLOCKS];
	uint64_t random, pieces;
	const char *wrong;
};

static uint64_t dice(struct model *m, uint64_t sides)
{
	m->random = m->random * 6364136223846793005ull + 1442695040888963407ull;
	return (m->random >> 33) % sides;
}

static size_t page_of(uint64_t va)
{
	return (va - BASE) >> HEAP_PAGE_SHIFT;
}

/* What the library does with the driver: memory for one more block, shared or not. */
static bool piece_add(struct model *m, uint64_t pages)
{
	bool shared = pages <= HEAP_SHARED_MOST && dice(m, 8);
	uint64_t n = shared ? HEAP_SHARED : pages, va = heap_place(&m->heap, n);

	if (!va)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (m->backed[page_of(va) + i])
			m->wrong = "a piece over another";
		m->backed[page_of(va) + i] = 1;
	}
	m->pieces++;
	return heap_add_piece(&m->heap, va, (uint32_t)n, va ^ 1, shared) == 0;
}

static void piece_drop(struct model *m, const struct heap_piece *p)
{
	if (p->handle != (p->va ^ 1))
		m->wrong = "the handle of another piece";
	for (size_t i = 0; i < p->pages; i++) {
		if (m->owner[page_of(p->va) + i])
			m->wrong = "a piece in use is called empty";
		m->backed[page_of(p->va) + i] = 0;
	}
	m->pieces--;
	heap_drop_piece(&m->heap, p->va);
}

static void take(struct model *m, size_t k)
{
	uint64_t bytes = dice(m, 3) ? HEAP_PAGE * (1 + dice(m, 10)) - dice(m, 4096) : HEAP_PAGE * (11 + dice(m, 90));
	uint64_t pages = heap_pages(bytes), va = heap_take(&m->heap, bytes);

	if (!va && piece_add(m, pages))
		va = heap_take(&m->heap, bytes);
	if (!va)
		return;
	m->block[k].va = va;
	m->block[k].bytes = bytes;
	for (size_t i = 0; i < pages; i++) {
		if (m->owner[page_of(va) + i] || !m->backed[page_of(va) + i])
			m->wrong = "a block over another, or over nothing";
		m->owner[page_of(va) + i] = (uint16_t)(k + 1);
	}
}

static void give(struct model *m, size_t k)
{
	const struct heap_piece *empty;
	uint64_t va = m->block[k].va;

	if (heap_give(&m->heap, va + 1, &empty) == 0 || heap_give(&m->heap, va + HEAP_PAGE * 4096, &empty) == 0)
		m->wrong = "what is no block was freed";
	if (heap_give(&m->heap, va, &empty) < 0)
		m->wrong = "a block could not be freed";
	for (size_t i = 0; i < heap_pages(m->block[k].bytes); i++)
		m->owner[page_of(va) + i] = 0;
	m->block[k].va = 0;
	if (empty)
		piece_drop(m, empty);
	if (heap_give(&m->heap, va, &empty) == 0)
		m->wrong = "a block was freed twice";
}

/* Any address: the block there, or none. */
static void ask(struct model *m)
{
	uint64_t at = BASE + dice(m, PAGES) * HEAP_PAGE + dice(m, HEAP_PAGE), va, bytes;
	size_t k = m->owner[page_of(at)];
	bool inside = k && at - m->block[k - 1].va < m->block[k - 1].bytes;

	if (heap_find(&m->heap, at, &va, &bytes) != inside)
		m->wrong = "found where nothing is, or not found";
	else if (inside && (va != m->block[k - 1].va || bytes != m->block[k - 1].bytes))
		m->wrong = "found another block";
}

static void *thread(void *arg)
{
	struct model *m = arg;

	heap_add_range(&m->heap, BASE, PAGES / 2);
	heap_add_range(&m->heap, BASE + PAGES / 2 * HEAP_PAGE, PAGES / 2);
	for (size_t i = 0; i < STEPS && !m->wrong; i++) {
		size_t k = dice(m, BLOCKS);

		if (m->block[k].va)
			give(m, k);
		else
			take(m, k);
		ask(m);
		if (m->heap.n_pieces != m->pieces)
			m->wrong = "pieces lost";
	}
	for (size_t k = 0; k < BLOCKS && !m->wrong; k++)
		if (m->block[k].va)
			give(m, k);
	if (m->heap.n_pieces)
		m->wrong = "a piece is left";
	heap_free(&m->heap);
	return NULL;
}

static void millions_of_steps_agree_with_the_model(void **state)
{
	struct model *m = calloc(THREADS, sizeof(*m));
	pthread_t t[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		m[i].random = i + 1;
		assert_int_equal(pthread_create(&t[i], NULL, thread, &m[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		assert_string_equal(m[i].wrong ? m[i].wrong : "", "");
	}
	free(m);
}

static void small_blocks_share_a_piece(void **state)
{
	struct heap h = { 0 };

	(void)state;
	heap_add_range(&h, BASE, PAGES);
	assert_int_equal(heap_take(&h, HEAP_PAGE), 0);
	assert_int_equal(heap_add_piece(&h, BASE, HEAP_SHARED, 1, true), 0);
	for (size_t i = 0; i < 3; i++) /* 20 MiB as PyTorch asks for */
		assert_int_equal(heap_take(&h, 10 * HEAP_PAGE), BASE + i * 10 * HEAP_PAGE);
	assert_int_equal(heap_take(&h, 10 * HEAP_PAGE), 0);
	assert_int_equal(heap_spare(&h), 2);
	assert_int_equal(heap_take(&h, 11 * HEAP_PAGE), 0); /* never shares */
	heap_free(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(millions_of_steps_agree_with_the_model),
		cmocka_unit_test(small_blocks_share_a_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
