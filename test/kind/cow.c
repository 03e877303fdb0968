/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-on-write memory: a preforked server. Twenty workers and a grandchild share the memory that their parent had
 * filled before it forked them, in small and in huge pages and behind a private mapping of a file; each has changed
 * some pages, emptied others, and one has left its mapping in two pieces with other protections. Afterwards every
 * word is checked, and that all of them together take no more memory than before.
 */
#include "subject.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { WORKERS = 20, PAGE_LEN = 4096, WORDS = PAGE_LEN / 8, SMALL = 24 << 20, HUGE = 8 << 20, FILED = 2 << 20 };

static uint64_t *small, *huge, *filed;
static int go[2], done[2];

static uint64_t word(const uint64_t *mem, size_t i)
{
	return (uint64_t)(uintptr_t)mem * 2654435761u + i;
}

static void fill(uint64_t *mem, size_t len)
{
	for (size_t i = 0; i < len / 8; i++)
		mem[i] = word(mem, i);
}

/* What worker k has done to page i: 1 changed, 2 emptied, 3 nothing but zeros, 0 left as it was. */
static int done_to(int k, size_t page)
{
	if (k <= 0)
		return 0;
	return page % 97 == (size_t)k ? 1 : page % 89 == (size_t)k ? 2 : page % 83 == (size_t)k ? 3 : 0;
}

static void change(uint64_t *mem, size_t len, int k)
{
	for (size_t page = 0; page < len / PAGE_LEN; page++) {
		uint64_t *at = mem + page * WORDS;

		if (done_to(k, page) == 1)
			at[k] = (uint64_t)k;
		else if (done_to(k, page) == 2)
			CHECK(!madvise(at, PAGE_LEN, MADV_DONTNEED), "empty a page");
		else if (done_to(k, page) == 3)
			memset(at, 0, PAGE_LEN);
	}
}

/* below: what an emptied page shows, of each word */
static void check(const uint64_t *mem, size_t len, int k, uint64_t below, const char *what)
{
	for (size_t i = 0; i < len / 8; i++) {
		int d = done_to(k, i / WORDS);
		uint64_t want = d == 2 ? below : d == 3 ? 0 : word(mem, i);

		if (d == 1 && i % WORDS == (size_t)k)
			want = (uint64_t)k;
		CHECK(mem[i] == want, "%s, process %d: word %zu is %llx, not %llx", what, k, i,
		      (unsigned long long)mem[i], (unsigned long long)want);
	}
}

static void check_all(int k)
{
	check(small, SMALL, k, 0, "small pages");
	check(huge, HUGE, k, 0, "huge pages");
	check(filed, FILED, k, 0x6666666666666666, "file");
}

/* The last worker's mapping is in pieces: one gone, one not to be written, one not even to be read. */
static void cut(void)
{
	char *at = (char *)small;

	CHECK(!mprotect(at + (2 << 20), 1 << 20, PROT_READ), "mprotect");
	CHECK(!mprotect(at + (4 << 20), 1 << 20, PROT_NONE), "mprotect");
	CHECK(!munmap(at + (6 << 20), 1 << 20), "munmap");
	CHECK(!madvise(at + (8 << 20), 1 << 20, MADV_DONTFORK), "madvise");
	CHECK(!mlock(at + (10 << 20), 64 << 10), "mlock");
}

static void check_cut(void)
{
	char *at = (char *)small;

	CHECK(!mprotect(at + (4 << 20), 1 << 20, PROT_READ), "mprotect");
	CHECK(mmap(at + (6 << 20), 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
	      at + (6 << 20), "the hole in the mapping");
	for (size_t i = 0; i < SMALL / 8; i++)
		if (i / (1 << 17) != 6)
			CHECK(small[i] == word(small, i), "pieces: word %zu", i);
}

static void be_worker(int k)
{
	char c;

	if (k == WORKERS)
		cut();
	else
		change(small, SMALL, k);
	change(huge, HUGE, k);
	change(filed, FILED, k);
	CHECK(write(done[1], "x", 1) == 1, "pipe");
	CHECK(read(go[0], &c, 1) == 0, "pipe"); /* until the parent closes it */
	CHECK(getppid() != 1, "the parent is gone");
	if (k == WORKERS)
		check_cut();
	else
		check(small, SMALL, k, 0, "small pages");
	check(huge, HUGE, k, 0, "huge pages");
	check(filed, FILED, k, 0x6666666666666666, "file");
	_exit(0);
}

static pid_t worker(int k)
{
	pid_t pid = fork();

	CHECK(pid >= 0, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(go[1]);
	if (k == 3) { /* one more generation, which changes nothing of its own */
		pid_t child;

		change(small, SMALL, 3);
		child = fork();
		CHECK(child >= 0, "fork");
		if (child) {
			CHECK(write(done[1], "x", 1) == 1, "pipe");
			waitpid(child, NULL, 0);
			check(small, SMALL, 3, 0, "small pages");
			_exit(0);
		}
		be_worker(3);
	}
	be_worker(k);
	return 0;
}

static uint64_t pss_of(pid_t pid)
{
	char path[64], line[256];
	unsigned long kb = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "r");
	CHECK(f, "open %s", path);
	while (fgets(line, sizeof(line), f) && sscanf(line, "Pss_Anon: %lu", &kb) != 1)
		;
	fclose(f);
	return kb << 10;
}

static uint64_t pss_all(const pid_t *pid)
{
	uint64_t sum = pss_of(getpid());

	for (int k = 1; k <= WORKERS; k++)
		sum += pss_of(pid[k]);
	return sum;
}

static uint64_t *map(size_t len, int advice, int fd)
{
	uint64_t *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	CHECK(at != MAP_FAILED, "mmap");
	if (advice)
		CHECK(!madvise(at, len, advice), "madvise");
	fill(at, len);
	return at;
}

static int make_file(void)
{
	int fd = open("cow.file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	static char text[PAGE_LEN];

	memset(text, 0x66, sizeof(text));
	for (int i = 0; i < FILED / PAGE_LEN; i++)
		CHECK(write(fd, text, sizeof(text)) == sizeof(text), "write");
	return fd;
}

int main(void)
{
	pid_t pid[WORKERS + 1];
	uint64_t before, after;
	int fd = make_file();
	char c;

	small = map(SMALL, MADV_NOHUGEPAGE, -1);
	huge = map(HUGE, MADV_HUGEPAGE, -1);
	filed = map(FILED, 0, fd);
	close(fd);
	CHECK(!pipe(go) && !pipe(done), "pipe");
	for (int k = 1; k <= WORKERS; k++)
		pid[k] = worker(k);
	for (int k = 0; k <= WORKERS; k++)
		CHECK(read(done[0], &c, 1) == 1, "pipe");
	small[0] = 1; /* the parent's own now */
	before = pss_all(pid);
	subject_ready();
	after = pss_all(pid);
	CHECK(after <= before + before / 10, "memory of all: %llu KiB before, %llu KiB after",
	      (unsigned long long)before >> 10, (unsigned long long)after >> 10);
	CHECK(small[0] == 1, "the parent's first page");
	small[0] = word(small, 0);
	check_all(0);
	close(go[1]);
	for (int k = 1, st; k <= WORKERS; k++)
		CHECK(waitpid(pid[k], &st, 0) == pid[k] && !st, "worker %d ended with %x", k, (unsigned)st);
	return 0;
}
