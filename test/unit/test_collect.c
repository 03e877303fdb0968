/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting memory: whatever the pattern of zeros, the way to write and the number of workers, the file holds the
 * pages that are no zeros, in order, and the runs say which they are. Images in memory are read ahead to where they
 * will probably lie, so the patterns are ones in which that is right, wrong now and then, and wrong all the time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "page/collect.h"

enum { PAGES = 48 << 8, WORDS = SNAP_PAGE / 8, LEN = PAGES * SNAP_PAGE };

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= UINT64_C(0x9E3779B97F4A7C15);
	return x ^ x >> 29;
}

/* One page in so many is zero; 0: none. Runs of zeros: so many pages together. */
struct pattern {
	unsigned one_in, together;
};

static bool zero(const struct pattern *p, size_t page)
{
	return p->one_in && mix(page / p->together + 11) % p->one_in == 0;
}

static uint64_t first_word(size_t page)
{
	return mix(page) | 1;
}

/* Memory with the pattern. In every third page only the last word tells that it is no page of zeros. */
static uint64_t *source(const struct pattern *p)
{
	uint64_t *m = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(m, MAP_FAILED);
	for (size_t i = 0; i < PAGES; i++) {
		m[i * WORDS] = zero(p, i) || i % 3 == 0 ? 0 : first_word(i);
		m[i * WORDS + WORDS - 1] = zero(p, i) ? 0 : first_word(i);
	}
	return m;
}

static int new_file(const char *dir)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/thaw-collect-XXXXXX", dir);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	return fd;
}

/* Pieces of many lengths, some of one page, with gaps: what a gap holds is not to be stored. */
static size_t cut(struct collect_piece *v, uint64_t base)
{
	size_t n = 0;

	for (size_t at = 0, len; at < PAGES; at += len + n % 2) {
		len = n % 7 == 6 ? 2000 : 1 + mix(n) % 40;
		len = len < PAGES - at ? len : PAGES - at;
		v[n++] = (struct collect_piece){ base + at * SNAP_PAGE, len * SNAP_PAGE, n % 5 == 4, false };
	}
	return n;
}

static bool in_runs(const struct collect_object *o, uint64_t at, size_t *run)
{
	while (*run < o->nruns && o->runs[*run].at + o->runs[*run].len <= at)
		++*run;
	return *run < o->nruns && o->runs[*run].at <= at;
}

static void check(const struct collect_object *o, const uint64_t *m, const struct pattern *p, uint64_t base)
{
	const uint64_t *got = mmap(NULL, LEN, PROT_READ, MAP_SHARED, o->out.fd, 0);
	size_t run = 0, stored = 0;

	assert_ptr_not_equal(got, MAP_FAILED);
	for (size_t i = 0; i < o->npieces; i++)
		for (uint64_t at = o->pieces[i].at; at < o->pieces[i].at + o->pieces[i].len; at += SNAP_PAGE) {
			size_t page = (at - base) / SNAP_PAGE;
			bool kept = o->pieces[i].keep_zero || !zero(p, page);

			assert_int_equal(in_runs(o, at, &run), kept);
			if (kept)
				assert_memory_equal(got + stored++ * WORDS, m + page * WORDS, SNAP_PAGE);
		}
	assert_int_equal(lseek(o->out.fd, 0, SEEK_END), stored * SNAP_PAGE);
	munmap((void *)got, LEN);
}

static void collect(const struct pattern *p, const char *dir, unsigned threads, bool of_process)
{
	static struct collect_piece pieces[PAGES];
	uint64_t *m = source(p), base = of_process ? (uint64_t)m : 0;
	struct collect_object o = { .name = "the test", .src_fd = -1, .alone = true, .pieces = pieces };
	_Atomic uint64_t done = 0;
	const int stop = 0;

	o.npieces = cut(pieces, base);
	o.out = (struct pages_file){ .fd = new_file(dir), .pages_id = 1 };
	if (of_process) {
		o.pid = fork();
		while (!o.pid)
			pause();
		assert_true(o.pid > 0);
	} else {
		o.src_fd = memfd_create("source", MFD_CLOEXEC);
		assert_int_equal(write(o.src_fd, m, LEN), LEN);
	}
	assert_int_equal(collect_run_all(&o, 1, threads, &done, &stop, NULL, NULL), 0);
	check(&o, m, p, base);
	if (o.pid) {
		kill(o.pid, SIGKILL);
		assert_int_equal(waitpid(o.pid, NULL, 0), o.pid);
	}
	free(o.runs);
	close(o.src_fd);
	close(o.out.fd);
	munmap(m, LEN);
}

static void into_memory(void **state)
{
	static const struct pattern patterns[] = { { 0, 1 },  { 1100, 1 }, { 300, 1 },
						   { 3, 16 }, { 10, 600 }, { 1, 1 } };
	static const unsigned threads[] = { 3, 1, 16 };

	(void)state;
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
		for (size_t k = 0; k < (i < 3 ? 3 : 1); k++)
			collect(&patterns[i], "/dev/shm", threads[k], (i + k) % 2);
}

static void to_disk(void **state)
{
	(void)state;
	collect(&(struct pattern){ 3, 16 }, ".", 3, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(into_memory), cmocka_unit_test(to_disk) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
