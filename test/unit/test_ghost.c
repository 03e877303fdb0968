/* SPDX-License-Identifier: Apache-2.0 */
/* Deleted files: names that are taken, files that never had one, limits, images that lie. */
#include "files_fixture.h"

#include <dirent.h>

#include "kind/ghost.h"

static int deleted(const char *name, const char *text)
{
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0640);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(unlink(name), 0);
	return fd;
}

static int restored(struct files_fixture *x, uint32_t id)
{
	struct remap *row = remap_of(&x->r, id);
	int fd;

	assert_non_null(row);
	assert_int_equal(ghost_check(&x->r, row), 0);
	fd = ghost_open(&x->r, row);
	if (fd < 0)
		fail_msg("%s", err_text());
	return fd;
}

static void holds(int fd, const char *text)
{
	char buf[64];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(buf, text, (size_t)n);
}

static void same_inode(int a, int b)
{
	struct stat x, y;

	assert_int_equal(fstat(a, &x) | fstat(b, &y), 0);
	assert_int_equal(x.st_ino, y.st_ino);
	assert_int_equal(x.st_nlink, 0);
}

/* The fixture's directory holds its images and nothing else than these names. */
static void only(const char *names)
{
	DIR *dir = opendir(".");
	struct dirent *e;

	while ((e = readdir(dir)))
		if (e->d_name[0] != '.' && strcmp(e->d_name, "img") && !strstr(names, e->d_name))
			fail_msg("%s is left over", e->d_name);
	rewinddir(dir);
	while ((e = readdir(dir)))
		assert_false(!strncmp(e->d_name, ".thaw", 5));
	closedir(dir);
}

static void test_two_descriptions_of_one_file(void **state)
{
	struct files_fixture *x = *state;
	int a = deleted("f", "contents"), b, ra, rb;
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", a);
	b = open(self, O_RDONLY);
	assert_int_equal(lseek(b, 3, SEEK_SET), 3);
	assert_int_equal(files_dump_fd(x, a, 1) | files_dump_fd(x, b, 2), 0);
	assert_int_equal(x->d.snap->list[IMG_REMAP_FPATH].n, 2);
	assert_int_equal(remap_of(&x->r, 1)->remap_id, remap_of(&x->r, 2)->remap_id);
	rb = restored(x, 2);
	only("");
	ra = restored(x, 1);
	same_inode(ra, rb);
	holds(rb, "contents");
	assert_int_equal(lseek(ra, 0, SEEK_CUR), 8);
	assert_int_equal(lseek(rb, 0, SEEK_CUR), 3);
	assert_int_equal(fcntl(rb, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(ghost_open(&x->r, remap_of(&x->r, 1)), -EINVAL);
}

static void test_a_name_that_is_taken(void **state)
{
	struct files_fixture *x = *state;
	int old = deleted("f", "old"), new = open("f", O_RDWR | O_CREAT | O_EXCL, 0600), fd;

	assert_int_equal(write(new, "newer", 5), 5);
	assert_int_equal(files_dump_fd(x, old, 1) | files_dump_fd(x, new, 2), 0);
	assert_null(remap_of(&x->r, 2));
	fd = restored(x, 1);
	holds(fd, "old");
	holds(new, "newer");
	only("f");
	assert_int_equal(fstat(new, &(struct stat){ 0 }) | access("f", F_OK), 0);
}

static void test_a_file_that_never_had_a_name(void **state)
{
	struct files_fixture *x = *state;
	int fd = open(x->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), other, again, twin;
	char self[64];

	if (fd < 0 && errno == EOPNOTSUPP)
		skip();
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	other = open(self, O_RDONLY);
	assert_int_equal(write(fd, "temp", 4), 4);
	assert_int_equal(files_dump_fd(x, other, 2) | files_dump_fd(x, fd, 1), 0);
	twin = restored(x, 2);
	again = restored(x, 1);
	same_inode(twin, again);
	holds(again, "temp");
	holds(twin, "temp");
	assert_int_equal(fcntl(again, F_GETFL), fcntl(fd, F_GETFL));
	assert_int_equal(lseek(again, 0, SEEK_CUR), 4);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", again);
	assert_int_equal(linkat(AT_FDCWD, self, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
}

static void test_below_directories_that_are_gone(void **state)
{
	struct files_fixture *x = *state;
	int fd;

	assert_int_equal(mkdir("a", 0700) | mkdir("a/b", 0700), 0);
	fd = deleted("a/b/f", "deep");
	assert_int_equal(rmdir("a/b") | rmdir("a"), 0);
	assert_int_equal(files_dump_fd(x, fd, 1), 0);
	holds(restored(x, 1), "deep");
	only("");
}

static void test_the_limit(void **state)
{
	struct files_fixture *x = *state;
	int fd = deleted("f", "x");

	assert_int_equal(ftruncate(fd, 1L << 40), 0);
	assert_int_equal(files_dump_fd(x, fd, 1), 0);
	assert_int_equal(lseek(restored(x, 1), 0, SEEK_END), 1L << 40);
	x->opts.ghost_limit = 4095;
	fd = deleted("f", "y");
	assert_int_equal(files_dump_fd(x, fd, 2), -EFBIG);
	assert_non_null(strstr(err_text(), "4096 bytes"));
	assert_non_null(strstr(err_text(), "4095"));
}

static void test_a_hard_link_elsewhere(void **state)
{
	struct files_fixture *x = *state;
	int fd = open("f", O_RDWR | O_CREAT, 0600);

	assert_int_equal(link("f", "kept") | unlink("f"), 0);
	assert_int_equal(files_dump_fd(x, fd, 1), -ENOTSUP);
	assert_non_null(strstr(err_text(), "--link-remap"));
}

static void ghost_write(struct files_fixture *x, const GhostFileEntry *g, uint64_t off, uint64_t len)
{
	GhostChunkEntry c = GHOST_CHUNK_ENTRY__INIT;
	int fd = img_create(x->r.dirfd, IMG_GHOST_FILE, 7);
	char data[64] = { 0 };

	assert_true(fd >= 0);
	c.off = off;
	c.len = len;
	assert_int_equal(img_append(fd, IMG_GHOST_FILE, 7, &g->base) | img_append(fd, IMG_GHOST_FILE, 7, &c.base), 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* Data outside of the file, a fifo that says it is a file, an entry that is not there. */
static void test_images_that_lie(void **state)
{
	struct files_fixture *x = *state;
	GhostFileEntry *g = arena_msg(x->d.a, ghost_file_entry, GhostFileEntry);
	struct remap row = { .orig_id = 1, .remap_id = 7, .type = REMAP_TYPE__GHOST, .fd = -1 };
	int fd = open("f", O_RDWR | O_CREAT, 0600);

	assert_int_equal(files_dump_fd(x, fd, 1), 0);
	assert_true(ghost_check(&x->r, &row) < 0);
	g->mode = S_IFREG | 0600;
	g->has_chunks = g->chunks = g->has_size = true;
	g->size = 100;
	ghost_write(x, g, 90, 10);
	assert_int_equal(ghost_check(&x->r, &row), 0);
	ghost_write(x, g, 91, 10);
	assert_int_equal(ghost_check(&x->r, &row), -EINVAL);
	ghost_write(x, g, UINT64_MAX - 5, 10);
	assert_int_equal(ghost_check(&x->r, &row), -EINVAL);
	g->mode = S_IFIFO | 0600;
	ghost_write(x, g, 0, 10);
	assert_int_equal(ghost_check(&x->r, &row), -EINVAL);
	g->mode = S_IFREG | 0600;
	ghost_write(x, g, 0, 10);
	row.orig_id = 55;
	assert_int_equal(ghost_check(&x->r, &row), -EINVAL);
	only("f");
}

/* Older images have the contents in one piece behind the entry. */
static void test_an_image_without_chunks(void **state)
{
	struct files_fixture *x = *state;
	GhostFileEntry *g = arena_msg(x->d.a, ghost_file_entry, GhostFileEntry);
	RemapFilePathEntry *row = arena_msg(x->d.a, remap_file_path_entry, RemapFilePathEntry);
	int fd = open("f", O_RDWR | O_CREAT, 0600), img_fd;

	assert_int_equal(files_dump_fd(x, fd, 1), 0);
	unlink("f");
	g->mode = S_IFREG | 0600;
	g->uid = getuid();
	g->gid = getgid();
	img_fd = img_create(x->r.dirfd, IMG_GHOST_FILE, 3);
	assert_int_equal(img_append(img_fd, IMG_GHOST_FILE, 3, &g->base), 0);
	assert_int_equal(write(img_fd, "in one piece", 12), 12);
	close(img_fd);
	row->orig_id = 1;
	row->remap_id = 3 | 1u << 31; /* no type: this bit says ghost */
	snap_add(x->d.snap, IMG_REMAP_FPATH, &row->base);
	holds(restored(x, 1), "in one piece");
	only("");
}

#define GHOST_TEST(fn) cmocka_unit_test_setup_teardown(fn, files_setup, files_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GHOST_TEST(test_two_descriptions_of_one_file),
		GHOST_TEST(test_a_name_that_is_taken),
		GHOST_TEST(test_a_file_that_never_had_a_name),
		GHOST_TEST(test_below_directories_that_are_gone),
		GHOST_TEST(test_the_limit),
		GHOST_TEST(test_a_hard_link_elsewhere),
		GHOST_TEST(test_images_that_lie),
		GHOST_TEST(test_an_image_without_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
