/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings and pages of a task (kern/maps.h, kern/pagemap.h), on our own memory; no root. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "kern/maps.h"
#include "kern/pagemap.h"
#include "kern/proc.h"
#include "kind/vma.h"

enum { PAGE = 4096, PAGES = 64 };

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

struct fixture {
	struct arena *a;
	int proc_fd, file_fd;
	char path[64];
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->a = arena_new();
	x->proc_fd = proc_open(getpid());
	strcpy(x->path, "/tmp/thaw maps\nXXXXXX");
	x->file_fd = mkstemp(x->path);
	*state = x;
	return x->proc_fd < 0 || x->file_fd < 0 || ftruncate(x->file_fd, PAGES * PAGE) < 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	unlink(x->path);
	close(x->file_fd);
	close(x->proc_fd);
	arena_free(x->a);
	free(x);
	return 0;
}

static char *map_anon(int prot, int flags)
{
	/* a guard on either side keeps it from merging with its neighbours */
	char *p = mmap(NULL, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	p = mmap(p + PAGE, PAGES * PAGE, prot, flags | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	assert_true(p != MAP_FAILED);
	return p;
}

/* Another process looks, for reading its own mappings changes them. r and what it found come over a pipe. */
struct answer {
	int r;
	bool found;
	struct map map;
	char name[256];
};

static void look(struct fixture *x, enum maps_want want, const void *p, struct answer *ans)
{
	const struct map *m = NULL;
	struct map *maps;
	size_t n;

	ans->r = maps_read(x->proc_fd, want, x->a, &maps, &n);
	for (size_t i = 0; !ans->r && i < n; i++)
		if ((uintptr_t)p >= maps[i].start_va && (uintptr_t)p < maps[i].end_va)
			m = &maps[i];
	ans->found = m != NULL;
	if (m) {
		ans->map = *m;
		snprintf(ans->name, sizeof(ans->name), "%s", m->name);
	}
}

static const struct map *map_at(struct fixture *x, enum maps_want want, const void *p)
{
	struct answer *ans = arena_alloc(x->a, sizeof(*ans));
	int pipefd[2];
	pid_t pid;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	if (!pid) {
		look(x, want, p, ans);
		_exit(write(pipefd[1], ans, sizeof(*ans)) != sizeof(*ans));
	}
	assert_int_equal(read(pipefd[0], ans, sizeof(*ans)), sizeof(*ans));
	waitpid(pid, NULL, 0);
	close(pipefd[0]);
	close(pipefd[1]);
	assert_int_equal(ans->r, 0);
	ans->map.name = ans->name;
	return ans->found ? &ans->map : NULL;
}

/* maps_flags() of one mapping, from outside as well: its result in *m. */
static int flags_of(struct fixture *x, struct map *m)
{
	int pipefd[2], r;
	pid_t pid;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	if (!pid) {
		r = maps_flags(x->proc_fd, m, 1);
		_exit(write(pipefd[1], &r, sizeof(r)) != sizeof(r) || write(pipefd[1], m, sizeof(*m)) != sizeof(*m));
	}
	assert_int_equal(read(pipefd[0], &r, sizeof(r)), sizeof(r));
	assert_int_equal(read(pipefd[0], m, sizeof(*m)), sizeof(*m));
	waitpid(pid, NULL, 0);
	close(pipefd[0]);
	close(pipefd[1]);
	return r;
}

static void plain_attributes(void **state)
{
	struct fixture *x = *state;
	char *p = map_anon(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE), *q;
	const struct map *m = map_at(x, MAPS_PLAIN, p + 5);
	struct stat st;

	assert_int_equal(m->start_va, (uintptr_t)p);
	assert_int_equal(m->end_va, (uintptr_t)p + PAGES * PAGE);
	assert_int_equal(m->prot, PROT_READ | PROT_WRITE);
	assert_false(m->shared);
	assert_int_equal(m->ino, 0);
	assert_string_equal(m->name, "");

	q = mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, x->file_fd, 2 * PAGE);
	m = map_at(x, MAPS_PLAIN, q + 2 * PAGE);
	assert_true(m->shared);
	assert_int_equal(m->prot, PROT_READ);
	assert_int_equal(m->file_off, 2 * PAGE);
	fstat(x->file_fd, &st);
	assert_int_equal(m->ino, st.st_ino);
	assert_non_null(strstr(m->name, "/tmp/thaw maps\\012"));
	munmap(q, 3 * PAGE);

	assert_null(map_at(x, MAPS_PLAIN, NULL));
	assert_null(map_at(x, MAPS_PLAIN, (void *)UINTPTR_MAX));
	assert_null(map_at(x, MAPS_FLAGS, (void *)UINT64_C(0xffffffffff600000))); /* [vsyscall] */
}

static void advice_shows_in_flags(void **state)
{
	static const struct {
		int advice;
		enum map_flag flag;
	} table[] = {
		{ MADV_DONTFORK, MAP_VM_DC }, { MADV_DONTDUMP, MAP_VM_DD },   { MADV_HUGEPAGE, MAP_VM_HG },
		{ MADV_NOHUGEPAGE, MAP_VM_NH }, { MADV_WIPEONFORK, MAP_VM_WF }, { MADV_SEQUENTIAL, MAP_VM_SR },
		{ MADV_RANDOM, MAP_VM_RR },
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		char *p = map_anon(PROT_READ | PROT_WRITE, MAP_PRIVATE);
		const struct map *m;
		struct map plain;

		p[0] = 1;
		if (madvise(p, PAGES * PAGE, table[i].advice) < 0)
			continue; /* not configured */
		m = map_at(x, MAPS_FLAGS, p);
		assert_true(m->vm_flags & MAP_VM_BIT(table[i].flag));
		assert_true(m->vm_flags & MAP_VM_BIT(MAP_VM_RD));
		assert_int_equal(m->page_len, PAGE);
		assert_true(m->anon_len >= PAGE);
		plain = *map_at(x, MAPS_PLAIN, p);
		assert_int_equal(plain.vm_flags, 0);
		assert_int_equal(flags_of(x, &plain), 0);
		assert_int_equal(plain.vm_flags, m->vm_flags);
	}
}

static void flags_of_a_mapping_that_went(void **state)
{
	struct fixture *x = *state;
	char *p = map_anon(PROT_READ, MAP_PRIVATE);
	struct map m = *map_at(x, MAPS_PLAIN, p);

	munmap(p, PAGES * PAGE);
	assert_int_equal(flags_of(x, &m), -EAGAIN);
}

/* Pages 3..5 and 20 are written, 10 was only read (the zero page), the rest is untouched. */
static char *patterned(void)
{
	char *p = map_anon(PROT_READ | PROT_WRITE, MAP_PRIVATE);

	madvise(p, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (int i = 3; i <= 5; i++)
		p[i * PAGE] = 1;
	p[20 * PAGE] = 1;
	(void)*(volatile char *)&p[10 * PAGE];
	return p;
}

static void expect_runs(const struct pagemap_runs *runs, const char *p, const int *first_last, size_t n)
{
	assert_int_equal(runs->n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(runs->run[i].start_va, (uintptr_t)p + (size_t)first_last[2 * i] * PAGE);
		assert_int_equal(runs->run[i].end_va, (uintptr_t)p + (size_t)(first_last[2 * i + 1] + 1) * PAGE);
	}
}

static void written_pages_are_found(void **state)
{
	const int with_zero[] = { 3, 5, 10, 10, 20, 20 }, without[] = { 3, 5, 20, 20 };
	struct fixture *x = *state;
	struct pagemap_runs runs = { 0 };
	char *p = patterned();
	uint64_t start = (uintptr_t)p, end = start + PAGES * PAGE;
	struct pagemap pm, old;

	assert_int_equal(pagemap_open(x->proc_fd, &pm), 0);
	if (pm.scan) {
		assert_int_equal(pagemap_scan(&pm, &pagemap_private, start, end, &runs), 0);
		expect_runs(&runs, p, without, 2);
		runs.n = 0;
		assert_int_equal(pagemap_scan(&pm, &pagemap_anon, start, end, &runs), 0);
		expect_runs(&runs, p, without, 2);
	}
	old = pm;
	old.scan = old.guard = false;
	runs.n = 0;
	assert_int_equal(pagemap_scan(&old, &pagemap_private, start, end, &runs), 0);
	expect_runs(&runs, p, with_zero, 3);
	assert_int_equal(pagemap_scan(&pm, &pagemap_private, start + 1, end, &runs), -EINVAL);
	pagemap_runs_free(&runs);
	pagemap_close(&pm);
}

static void many_runs_need_room(void **state)
{
	struct fixture *x = *state;
	struct pagemap_runs runs = { 0 };
	size_t pages = 20000;
	char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pagemap pm;

	madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < pages; i += 2)
		p[i * PAGE] = 1;
	assert_int_equal(pagemap_open(x->proc_fd, &pm), 0);
	for (int way = 0; way < 2; way++) {
		runs.n = 0;
		assert_int_equal(pagemap_scan(&pm, &pagemap_anon, (uintptr_t)p, (uintptr_t)p + pages * PAGE, &runs), 0);
		assert_int_equal(runs.n, pages / 2);
		for (size_t i = 0; i < runs.n; i++) {
			assert_int_equal(runs.run[i].start_va, (uintptr_t)p + 2 * i * PAGE);
			assert_int_equal(runs.run[i].end_va - runs.run[i].start_va, PAGE);
		}
		pm.scan = pm.guard = false;
	}
	/* all of them merge into one run, across the scan's own borders */
	memset(p, 1, pages * PAGE);
	runs.n = 0;
	assert_int_equal(pagemap_scan(&pm, &pagemap_anon, (uintptr_t)p, (uintptr_t)p + pages * PAGE, &runs), 0);
	assert_int_equal(runs.n, 1);
	pm.scan = true;
	runs.n = 0;
	assert_int_equal(pagemap_scan(&pm, &pagemap_anon, (uintptr_t)p, (uintptr_t)p + pages * PAGE, &runs), 0);
	assert_int_equal(runs.n, 1);
	munmap(p, pages * PAGE);
	pagemap_runs_free(&runs);
	pagemap_close(&pm);
}

static void private_copies_of_file_pages(void **state)
{
	const int copied[] = { 7, 7 };
	struct fixture *x = *state;
	struct pagemap_runs runs = { 0 };
	struct pagemap pm;
	char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, x->file_fd, 0);
	unsigned int sum = 0;

	for (int i = 0; i < PAGES; i++)
		sum += *(volatile unsigned char *)&p[i * PAGE];
	p[7 * PAGE] = (char)(sum + 1);
	assert_int_equal(pagemap_open(x->proc_fd, &pm), 0);
	for (int way = 0; way < 2; way++) {
		runs.n = 0;
		assert_int_equal(pagemap_scan(&pm, &pagemap_private, (uintptr_t)p, (uintptr_t)p + PAGES * PAGE, &runs),
				 0);
		expect_runs(&runs, p, copied, 1);
		pm.scan = pm.guard = false;
	}
	munmap(p, PAGES * PAGE);
	pagemap_runs_free(&runs);
	pagemap_close(&pm);
}

static void guards_are_told_apart(void **state)
{
	const int guards[] = { 30, 33 }, pages[] = { 3, 5, 20, 20 };
	struct fixture *x = *state;
	struct pagemap_runs runs = { 0 };
	char *p = patterned();
	uint64_t start = (uintptr_t)p, end = start + PAGES * PAGE;
	struct pagemap pm;

	assert_int_equal(pagemap_open(x->proc_fd, &pm), 0);
	if (!pm.guard || madvise(p + 30 * PAGE, 4 * PAGE, MADV_GUARD_INSTALL) < 0) {
		pagemap_close(&pm);
		skip(); /* wants 6.15 */
	}
	assert_int_equal(pagemap_scan(&pm, &pagemap_guard, start, end, &runs), 0);
	expect_runs(&runs, p, guards, 1);
	runs.n = 0;
	assert_int_equal(pagemap_scan(&pm, &pagemap_private, start, end, &runs), 0);
	expect_runs(&runs, p, pages, 2);
	pm.guard = false; /* an older kernel: there are none */
	runs.n = 0;
	assert_int_equal(pagemap_scan(&pm, &pagemap_guard, start, end, &runs), 0);
	assert_int_equal(runs.n, 0);
	pagemap_runs_free(&runs);
	pagemap_close(&pm);
}

/* Few machines have protection keys: smaps is a file of ours here. */
static void protection_key(void **state)
{
	static const char text[] =
		"10000-11000 rw-p 00000000 00:00 0 \nProtectionKey:         0\nVmFlags: rd wr mr mw me \n"
		"11000-12000 rw-p 00000000 00:00 0 \nProtectionKey:         3\nVmFlags: rd wr mr mw me \n"
		"12000-13000 --xp 00000000 00:00 0 \nProtectionKey:         1\nVmFlags: ex mr mw me \n";
	struct fixture *x = *state;
	char dir[] = "/tmp/thaw-maps-XXXXXX";
	struct map *maps;
	int dir_fd, fd;
	size_t n;

	assert_non_null(mkdtemp(dir));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	fd = openat(dir_fd, "smaps", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(maps_read(dir_fd, MAPS_FLAGS, x->a, &maps, &n), 0);
	assert_int_equal(unlinkat(dir_fd, "smaps", 0), 0);
	close(dir_fd);
	rmdir(dir);
	assert_int_equal(n, 3);
	assert_true(!(maps[0].vm_flags & MAP_VM_BIT(MAP_VM_PK)) && maps[0].vm_flags & MAP_VM_BIT(MAP_VM_RD));
	assert_true(maps[1].vm_flags & MAP_VM_BIT(MAP_VM_PK) && maps[1].vm_flags & MAP_VM_BIT(MAP_VM_RD));
	assert_int_equal(vma_refuse(&maps[0]), 0);
	assert_int_equal(vma_refuse(&maps[1]), -ENOTSUP);
	assert_non_null(strstr(err_text(), "a memory protection key is not supported yet"));
	/* that one the kernel has made by itself, and will again */
	assert_int_equal(vma_refuse(&maps[2]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(plain_attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(advice_shows_in_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(flags_of_a_mapping_that_went, setup, teardown),
		cmocka_unit_test_setup_teardown(protection_key, setup, teardown),
		cmocka_unit_test_setup_teardown(written_pages_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(many_runs_need_room, setup, teardown),
		cmocka_unit_test_setup_teardown(private_copies_of_file_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(guards_are_told_apart, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
