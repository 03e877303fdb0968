/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory and little else: while the engine fills it, the process itself has long been ready. */
#include <stdint.h>
#include <sys/mman.h>

#include "subject.h"

enum { WORDS = (96 << 20) / sizeof(uint64_t) };

int main(void)
{
	uint64_t *at = mmap(NULL, WORDS * sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED, "mmap");
	for (size_t i = 0; i < WORDS; i++)
		at[i] = i + 1;
	subject_ready();
	for (size_t i = 0; i < WORDS; i++)
		CHECK(at[i] == i + 1, "word %zu of the shared memory is not what it was", i);
	return 0;
}
