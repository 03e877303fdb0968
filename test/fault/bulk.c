/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Enough memory of every sort that the page engine tells apart: whole 2 MiB ranges, memory with a hole at every third
 * page, shared memory. Each page has its own pattern, made of its number; pages of zeros lie between.
 */
#include <stdint.h>
#include <sys/mman.h>

#include "subject.h"

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t) };

struct area {
	uint64_t *at;
	size_t pages, hole; /* hole: every so many pages one is missing; 0: none */
};

static uint64_t word(size_t page, size_t i)
{
	return (page + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (i + 1) * UINT64_C(0xc2b2ae3d27d4eb4f);
}

static struct area made(size_t mib, int flags, size_t hole)
{
	struct area a = { .pages = mib << 8, .hole = hole };

	a.at = mmap(NULL, a.pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	CHECK(a.at != MAP_FAILED, "mmap of %zu MiB", mib);
	for (size_t p = 0; p < a.pages; p++)
		for (size_t i = 0; (!hole || p % hole) && i < WORDS; i++)
			a.at[p * WORDS + i] = word(p, i);
	return a;
}

static void look(struct area a, const char *name)
{
	for (size_t p = 0; p < a.pages; p++)
		for (size_t i = 0; i < WORDS; i++)
			CHECK(a.at[p * WORDS + i] == (a.hole && p % a.hole == 0 ? 0 : word(p, i)),
			      "page %zu of the %s memory is not what it was", p, name);
}

int main(void)
{
	struct area plain = made(72, MAP_PRIVATE, 0), holes = made(12, MAP_PRIVATE, 3);
	struct area shared = made(12, MAP_SHARED, 0);

	subject_ready();
	look(plain, "plain");
	look(holes, "sparse");
	look(shared, "shared");
	return 0;
}
