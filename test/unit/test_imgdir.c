/* SPDX-License-Identifier: Apache-2.0 */
/* Image directories: complete or absent; parents; listing. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "img/imgdir.h"

enum { MANY = 1000 };

struct fixture {
	struct arena *a;
	char path[64];
	int topfd;
	struct imgdir *d;
};

/* A directory with an image directory "one" in it. */
static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->a = arena_new();
	strcpy(x->path, "/tmp/thaw-imgdir-XXXXXX");
	x->topfd = mkdtemp(x->path) ? open(x->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	*state = x;
	return x->topfd < 0 || mkdirat(x->topfd, "one", 0700) < 0 || imgdir_open(x->topfd, "one", x->a, &x->d) < 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	char cmd[128];

	imgdir_close(x->d);
	close(x->topfd);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", x->path);
	arena_free(x->a);
	free(x);
	return system(cmd);
}

static int exists(const struct imgdir *d, const char *name)
{
	return faccessat(d->dirfd, name, F_OK, 0) == 0;
}

static InventoryEntry *inventory(struct fixture *x)
{
	InventoryEntry *e = arena_msg(x->a, inventory_entry, InventoryEntry);

	e->img_version = 2;
	return e;
}

static void dump_some(struct fixture *x)
{
	FsEntry *fs = arena_msg(x->a, fs_entry, FsEntry);
	const struct img_msg msg = { .msg = &fs->base };
	const struct imgdir_order orders[] = { { IMG_FS, 10, &msg, 1 }, { IMG_FS, 9, &msg, 1 }, { .id = IMG_FILES } };
	auto_close int fd = -1;

	assert_int_equal(imgdir_begin(x->d), 0);
	assert_int_equal(imgdir_write_each(x->d, orders, ARRAY_LEN(orders)), 0);
	fd = imgdir_create(x->d, IMG_PAGES, 1);
	assert_true(fd >= 0);
}

static void test_commit(void **state)
{
	struct fixture *x = *state;
	InventoryEntry *e;

	dump_some(x);
	assert_false(exists(x->d, "inventory.img"));
	assert_int_equal(imgdir_commit(x->d, inventory(x)), 0);
	assert_false(exists(x->d, "inventory.img.new"));
	assert_int_equal(img_read_one(x->d->dirfd, IMG_INVENTORY, 0, x->a, &e), 0);
	assert_int_equal(e->img_version, 2);
}

static void test_abort(void **state)
{
	struct fixture *x = *state;
	struct imgdir_file *v;
	size_t n;

	dump_some(x);
	imgdir_abort(x->d);
	assert_int_equal(imgdir_list(x->d, x->a, &v, &n), 0);
	assert_int_equal(n, 0);
}

/* fs-0.img to fs-999.img; each says in a field of its own which it is. */
static int dump_many(struct fixture *x)
{
	struct imgdir_order orders[MANY];

	for (uint32_t i = 0; i < MANY; i++) {
		FsEntry *fs = arena_msg(x->a, fs_entry, FsEntry);
		struct img_msg *msg = arena_alloc(x->a, sizeof(*msg));

		fs->cwd_id = i;
		msg->msg = &fs->base;
		orders[i] = (struct imgdir_order){ IMG_FS, i, msg, 1 };
	}
	assert_int_equal(imgdir_begin(x->d), 0);
	return imgdir_write_each(x->d, orders, MANY);
}

static void test_many(void **state)
{
	struct fixture *x = *state;
	FsEntry *fs;

	assert_int_equal(dump_many(x), 0);
	for (uint32_t i = 0; i < MANY; i++) {
		assert_int_equal(img_read_one(x->d->dirfd, IMG_FS, i, x->a, &fs), 0);
		assert_int_equal(fs->cwd_id, i);
	}
	imgdir_abort(x->d);
	assert_false(exists(x->d, "fs-0.img"));
	assert_false(exists(x->d, "fs-999.img"));
}

/* The file is named, whoever was to write it, and nothing stays. */
static void test_one_of_many_fails(void **state)
{
	struct fixture *x = *state;
	struct imgdir_file *v;
	size_t n;

	assert_int_equal(mkdirat(x->d->dirfd, "fs-700.img", 0700), 0);
	assert_int_equal(dump_many(x), -EISDIR);
	assert_non_null(strstr(err_text(), "fs-700.img"));
	imgdir_abort(x->d);
	assert_int_equal(unlinkat(x->d->dirfd, "fs-700.img", AT_REMOVEDIR), 0);
	assert_int_equal(imgdir_list(x->d, x->a, &v, &n), 0);
	assert_int_equal(n, 0);
}

static void test_begin_forgets_the_old_one(void **state)
{
	struct fixture *x = *state;

	dump_some(x);
	assert_int_equal(imgdir_commit(x->d, inventory(x)), 0);
	assert_true(exists(x->d, "inventory.img"));
	assert_int_equal(imgdir_begin(x->d), 0);
	assert_false(exists(x->d, "inventory.img"));
}

static void test_list(void **state)
{
	struct fixture *x = *state;
	struct imgdir_file *v;
	size_t n;

	dump_some(x);
	assert_int_equal(mkdirat(x->d->dirfd, "something-else", 0700), 0);
	assert_int_equal(imgdir_list(x->d, x->a, &v, &n), 0);
	assert_int_equal(n, 4);
	assert_true(v[0].type->id == IMG_FS && v[0].num == 9 && v[0].len == 16);
	assert_true(v[1].type->id == IMG_FS && v[1].num == 10);
	assert_int_equal(v[2].type->id, IMG_PAGES);
	assert_int_equal(v[3].type->id, IMG_FILES);
}

static void test_not_a_directory(void **state)
{
	struct fixture *x = *state;
	struct imgdir *d;

	assert_int_equal(imgdir_open(x->topfd, "two", x->a, &d), -ENOENT);
	assert_string_equal(err_text(), "two: no such image directory");
	dump_some(x);
	assert_int_equal(imgdir_open(x->d->dirfd, "fs-9.img", x->a, &d), -ENOTDIR);
	assert_string_equal(err_text(), "fs-9.img: is not a directory");
}

static void test_parents(void **state)
{
	struct fixture *x = *state;
	struct imgdir *d;

	assert_int_equal(mkdirat(x->topfd, "two", 0700) | mkdirat(x->topfd, "three", 0700), 0);
	assert_int_equal(symlinkat("../one", x->topfd, "two/parent") | symlinkat("../two", x->topfd, "three/parent"),
			 0);
	assert_int_equal(imgdir_open(x->topfd, "three", x->a, &d), 0);
	assert_string_equal(d->parent->parent->path, "three/parent/parent");
	assert_null(d->parent->parent->parent);
	imgdir_close(d);

	assert_int_equal(symlinkat("../three", x->topfd, "one/parent"), 0);
	assert_int_equal(imgdir_open(x->topfd, "three", x->a, &d), -ELOOP);
	assert_string_equal(err_text(), "three/parent/parent/parent: the chain of parent directories leads back to itself");

	assert_int_equal(unlinkat(x->topfd, "one/parent", 0), 0);
	assert_int_equal(symlinkat("../gone", x->topfd, "one/parent"), 0);
	assert_int_equal(imgdir_open(x->topfd, "three", x->a, &d), -ENOENT);
	assert_string_equal(err_text(), "three/parent/parent: parent: no such image directory");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_commit), TEST(test_abort), TEST(test_many), TEST(test_one_of_many_fails),
		TEST(test_begin_forgets_the_old_one),
		TEST(test_list),   TEST(test_not_a_directory), TEST(test_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
