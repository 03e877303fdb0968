/* SPDX-License-Identifier: Apache-2.0 */
/* A task of 256 MiB and three children of 20 MiB, which share nothing; every word is checked. */
#include "subject.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { CHILDREN = 3, LARGE = 256 << 20, SMALL = 20 << 20 };

static uint64_t word(int who, size_t i)
{
	return (uint64_t)(who + 1) * 0x9E3779B97F4A7C15 + i;
}

static uint64_t *fill(int who, size_t len)
{
	uint64_t *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(mem != MAP_FAILED, "mmap");
	for (size_t i = 0; i < len / 8; i++)
		mem[i] = word(who, i);
	return mem;
}

static void check(const uint64_t *mem, int who, size_t len)
{
	for (size_t i = 0; i < len / 8; i++)
		CHECK(mem[i] == word(who, i), "process %d: word %zu", who, i);
}

static void child(int who, int ready, int go)
{
	uint64_t *mem = fill(who, SMALL);
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(write(ready, "x", 1) == 1, "pipe");
	while (read(go, &c, 1) < 0)
		CHECK(errno == EINTR, "pipe");
	check(mem, who, SMALL);
	_exit(0);
}

int main(void)
{
	int ready[2], go[2], st;
	uint64_t *mem;
	char c;

	CHECK(!pipe(ready) && !pipe(go), "pipe");
	for (int i = 0; i < CHILDREN; i++)
		if (!fork()) {
			close(go[1]);
			child(i, ready[1], go[0]);
		}
	mem = fill(CHILDREN, LARGE);
	for (int i = 0; i < CHILDREN; i++)
		CHECK(read(ready[0], &c, 1) == 1, "pipe");
	subject_ready();
	check(mem, CHILDREN, LARGE);
	close(go[1]);
	for (int i = 0; i < CHILDREN; i++)
		CHECK(wait(&st) > 0 && !st, "a child ended with %x", (unsigned)st);
	return 0;
}
