/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a task has inherited and that may be right as it is: a page is written only
 * if it differs from the image's, since the first write takes it out of the sharing.
 */
#include "pie/page_worker.h"

enum { PAGE_LEN = 4096 };

static int is_same(const uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < PAGE_LEN / 8; i += 4)
		if ((a[i] ^ b[i]) | (a[i + 1] ^ b[i + 1]) | (a[i + 2] ^ b[i + 2]) | (a[i + 3] ^ b[i + 3]))
			return 0;
	return 1;
}

static void copy_page(uint64_t to_va, uint64_t from_va)
{
	uint64_t words = PAGE_LEN / 8;

	__asm__ volatile("rep movsq" : "+D"(to_va), "+S"(from_va), "+c"(words)::"memory");
}

void page_compare(const struct pie_chunk *k, uint64_t from_va)
{
	const struct pie_iov *v = (const struct pie_iov *)k->iovs_va;

	for (uint32_t i = 0; i < k->niovs; i++)
		for (uint64_t at = 0; at < v[i].len; at += PAGE_LEN, from_va += PAGE_LEN)
			if (!is_same((const uint64_t *)(v[i].va + at), (const uint64_t *)from_va))
				copy_page(v[i].va + at, from_va);
}
