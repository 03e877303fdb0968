/* SPDX-License-Identifier: Apache-2.0 */
/* Chains of image directories: whoever holds a page, its extent says so; a page that nobody holds is refused. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "img/imgdir.h"
#include "snap/snap.h"

enum { PID = 77, PAGES = 500, DEPTH = 6, FIRST = 16, NOBODY = -1 };

/* What one directory says of each page: nothing, that it is here, or that it is the parent's. */
enum said { ABSENT, HERE, PARENTS };

static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static void write_dir(const char *path, const char *parent, const enum said *said, struct arena *a)
{
	struct img_msg v[PAGES + 1] = { 0 };
	PagemapHead head = PAGEMAP_HEAD__INIT;
	auto_close int dirfd = -1, fd = -1;
	uint64_t bytes = 0;
	size_t n = 1;

	assert_int_equal(mkdir(path, 0700), 0);
	dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent)
		assert_int_equal(symlinkat(parent, dirfd, "parent"), 0);
	head.pages_id = 5;
	v[0].msg = &head.base;
	for (size_t i = 0, len; i < PAGES; i += len) {
		PagemapEntry *e;

		len = 1;
		if (said[i] == ABSENT)
			continue;
		while (i + len < PAGES && said[i + len] == said[i] && any(10))
			len++;
		e = arena_msg(a, pagemap_entry, PagemapEntry);
		e->vaddr = (FIRST + i) * SNAP_PAGE;
		e->has_nr_pages = e->has_flags = true;
		e->nr_pages = len;
		e->flags = said[i] == HERE ? PE_PRESENT | PE_LAZY : PE_PARENT;
		bytes += said[i] == HERE ? len * SNAP_PAGE : 0;
		v[n++].msg = &e->base;
	}
	if (img_write_all(dirfd, IMG_PAGEMAP, PID, v, n) < 0)
		fail_msg("%s", err_text());
	fd = img_create(dirfd, IMG_PAGES, 5);
	assert_true(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
}

struct fixture {
	char top[64];
	const char *path[DEPTH];
	enum said said[DEPTH][PAGES]; /* [0]: the image itself */
	struct snap *s;
	struct imgdir *dir;
};

static struct fixture *fixture_new(void)
{
	struct fixture *f = calloc(1, sizeof(*f));

	snprintf(f->top, sizeof(f->top), "/tmp/thaw-chain-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	f->s = snap_new();
	for (int d = 0; d < DEPTH; d++)
		f->path[d] = arena_printf(f->s->a, "%s/%d", f->top, d);
	return f;
}

static void fixture_free(struct fixture *f)
{
	char command[128];

	imgdir_close(f->dir);
	snap_free(f->s);
	snprintf(command, sizeof(command), "rm -r %s", f->top);
	assert_int_equal(system(command), 0);
	free(f);
}

static void write_all(struct fixture *f, int depth)
{
	for (int d = 0; d < depth; d++) {
		char up[16];

		snprintf(up, sizeof(up), "../%d", d + 1);
		write_dir(f->path[d], d + 1 < depth ? up : NULL, f->said[d], f->s->a);
	}
}

/* A task whose page map is that of the first directory, as snap_load() would leave it. */
static int chain(struct fixture *f)
{
	struct snap_task *t = arena_alloc(f->s->a, sizeof(*t));
	struct img_msgs all;
	int r = imgdir_open(AT_FDCWD, f->path[0], f->s->a, &f->dir);

	if (r < 0)
		return r;
	t->pst = arena_msg(f->s->a, pstree_entry, PstreeEntry);
	t->pst->pid = PID;
	assert_int_equal(img_read_all(f->dir->dirfd, IMG_PAGEMAP, PID, f->s->a, &all), 0);
	t->pages.pages_id = 5;
	t->pages.nruns = all.n - 1;
	t->pages.runs = arena_alloc(f->s->a, all.n * sizeof(PagemapEntry *));
	for (size_t i = 1; i < all.n; i++)
		t->pages.runs[i - 1] = (PagemapEntry *)all.v[i].msg;
	arena_add(f->s->a, &f->s->tasks, &f->s->ntasks, t);
	return snap_chain(f->s, f->dir);
}

/* The directory that holds a page, and where in its file. */
static int holder(struct fixture *f, size_t page, uint64_t *ret_off)
{
	int d = 0;

	*ret_off = 0;
	while (f->said[d][page] == PARENTS)
		d++;
	if (f->said[d][page] == ABSENT)
		return NOBODY;
	for (size_t i = 0; i < page; i++)
		*ret_off += f->said[d][i] == HERE ? SNAP_PAGE : 0;
	return d;
}

static void check_extents(struct fixture *f)
{
	const struct snap_pages *p = &f->s->tasks[0]->pages;
	bool seen[PAGES] = { 0 };
	uint64_t end = 0, bytes = 0;

	for (size_t i = 0; i < p->nextents; i++) {
		const struct snap_extent *e = &p->extents[i];

		assert_true(e->va >= end && e->len && e->source < p->nsources);
		end = e->va + e->len;
		bytes += e->len;
		for (uint64_t at = 0; at < e->len; at += SNAP_PAGE) {
			size_t page = (e->va + at) / SNAP_PAGE - FIRST;
			uint64_t off;

			seen[page] = true;
			assert_int_equal(p->sources[e->source].depth, holder(f, page, &off));
			assert_int_equal(e->off + at, off);
		}
	}
	assert_int_equal(snap_chain_bytes(p), bytes);
	for (size_t i = 0; i < PAGES; i++)
		assert_int_equal(seen[i], f->said[0][i] != ABSENT);
}

static void every_page_has_its_holder(void **state)
{
	(void)state;
	for (uint32_t round = 1; round < 40; round++) {
		struct fixture *f = fixture_new();
		int depth = 1 + (int)(round % DEPTH);

		seed = round;
		for (int d = depth - 1; d >= 0; d--)
			for (size_t i = 0; i < PAGES; i++) {
				bool may_be_parents = d + 1 < depth && f->said[d + 1][i] != ABSENT;
				uint32_t dice = any(8);

				f->said[d][i] = dice < 2 ? ABSENT : dice > 4 && may_be_parents ? PARENTS : HERE;
			}
		write_all(f, depth);
		if (chain(f) < 0)
			fail_msg("%s", err_text());
		check_extents(f);
		fixture_free(f);
	}
}

static void refused(struct fixture *f, const char *sentence)
{
	int r = chain(f);

	if (r >= 0 || !strstr(err_text(), sentence))
		fail_msg("%d \"%s\" instead of \"%s\"", r, r < 0 ? err_text() : "", sentence);
	fixture_free(f);
}

/* Page 7 is said to be further up the chain by the first two of three. */
static struct fixture *three(enum said last)
{
	struct fixture *f = fixture_new();

	f->said[0][7] = f->said[1][7] = PARENTS;
	f->said[2][7] = last;
	f->said[0][8] = f->said[1][9] = f->said[2][5] = HERE;
	return f;
}

static void damaged_chains(void **state)
{
	struct fixture *f = three(HERE);
	char path[128];

	(void)state;
	write_all(f, 3);
	assert_int_equal(chain(f), 0);
	check_extents(f);
	fixture_free(f);

	f = three(ABSENT);
	write_all(f, 3);
	refused(f, "/0/parent/parent/pagemap-77.img: has no page at 17000, which the images that build upon it leave to it");
	f = three(HERE);
	write_all(f, 2);
	refused(f, "/0/parent/pagemap-77.img: the page at 17000 is said to be in the parent's images, but there is no parent");
	f = three(HERE);
	write_all(f, 3);
	snprintf(path, sizeof(path), "%s/pagemap-77.img", f->path[2]);
	assert_int_equal(unlink(path), 0);
	refused(f, "/0/parent/parent: pagemap-77.img: ");
	f = three(HERE);
	write_all(f, 3);
	snprintf(path, sizeof(path), "%s/pages-5.img", f->path[2]);
	assert_int_equal(truncate(path, 4096), 0);
	refused(f, "/0/parent/parent: pages-5.img: has 4096 bytes, its page map needs 8192");
	f = three(HERE);
	write_all(f, 3);
	snprintf(path, sizeof(path), "%s/parent", f->path[2]);
	assert_int_equal(symlink("../0", path), 0);
	refused(f, "the chain of parent directories leads back to itself");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_has_its_holder),
		cmocka_unit_test(damaged_chains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
