/* SPDX-License-Identifier: Apache-2.0 */
/* Names, sentences and refusals of img/img.h; no image from outside is needed. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "img/img_json.h"

struct fixture {
	struct arena *a;
	char path[64];
	int dirfd;
};

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->a = arena_new();
	strcpy(x->path, "/tmp/thaw-img-XXXXXX");
	x->dirfd = mkdtemp(x->path) ? open(x->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	*state = x;
	err_clear();
	return x->dirfd < 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;
	char name[IMG_NAME_LEN];

	for (size_t id = 0; id < IMG_COUNT; id++)
		unlinkat(x->dirfd, img_name(name, (enum img_id)id, 12), 0);
	close(x->dirfd);
	rmdir(x->path);
	arena_free(x->a);
	free(x);
	return 0;
}

/* Puts these bytes into core-12.img or what it is. */
static void file_put(struct fixture *x, enum img_id id, const void *p, size_t len)
{
	char name[IMG_NAME_LEN];
	auto_close int fd = openat(x->dirfd, img_name(name, id, 12), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(io_write(fd, p, len), 0);
}

static void assert_refused(struct fixture *x, enum img_id id, int errnum, const char *sentence)
{
	struct img_msgs all;

	assert_int_equal(img_read_all(x->dirfd, id, 12, x->a, &all), -errnum);
	assert_string_equal(err_text(), sentence);
}

static void test_names(void **state)
{
	char name[IMG_NAME_LEN];
	uint64_t num;

	(void)state;
	assert_string_equal(img_name(name, IMG_CORE, 12), "core-12.img");
	assert_string_equal(img_name(name, IMG_GHOST_FILE, 0x1f), "ghost-file-1f.img");
	assert_string_equal(img_name(name, IMG_TMPFS, 3), "tmpfs-3.tar.gz.img");
	assert_string_equal(img_name(name, IMG_PAGEMAP_SHMEM, 1ULL << 40), "pagemap-shmem-1099511627776.img");
	assert_string_equal(img_name(name, IMG_INVENTORY, 5), "inventory.img");
	for (size_t id = 0; id < IMG_COUNT; id++) {
		const struct img_type *t = img_type_by_file(img_name(name, (enum img_id)id, 0xab), &num);

		assert_ptr_equal(t, img_type((enum img_id)id));
		assert_true(num == 0xab || !strchr(t->pattern, '%'));
	}
}

static void test_foreign_names(void **state)
{
	static const char *const names[] = { "", "core", "core-.img", "core-1", "core-01.img", "core--1.img", "core-1.img.new",
					     "core-x.img", "corex-1.img", "dump.log", "inventory.img.new",
					     "core-99999999999999999999.img", "tmpfs-1.img" };
	uint64_t num;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_null(img_type_by_file(names[i], &num));
}

static void test_missing(void **state)
{
	assert_int_equal(img_open(((struct fixture *)*state)->dirfd, IMG_MM, 12), -ENOENT);
	assert_non_null(strstr(err_text(), "mm-12.img: open: No such file or directory"));
}

static void test_fifo_does_not_hang(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(mkfifoat(x->dirfd, "fs-12.img", 0600), 0);
	assert_refused(x, IMG_FS, EINVAL, "fs-12.img: is not a regular file");
}

static void test_magic(void **state)
{
	struct fixture *x = *state;
	static const uint32_t pstree[] = { 0x54564319, 0x50273030 }, junk[] = { 0x12345678 };

	file_put(x, IMG_CORE, pstree, sizeof(pstree));
	assert_refused(x, IMG_CORE, EINVAL,
		       "core-12.img: has magic 0x50273030 (that of pstree.img) at offset 4, expected 0x55053847");
	file_put(x, IMG_CORE, junk, sizeof(junk));
	assert_refused(x, IMG_CORE, EINVAL, "core-12.img: has magic 0x12345678 at offset 0, expected 0x54564319");
	file_put(x, IMG_CORE, pstree, 3);
	assert_refused(x, IMG_CORE, EINVAL, "core-12.img: is cut short: its magic needs 4 bytes at offset 0, 3 are left");
}

static void test_cut_short(void **state)
{
	struct fixture *x = *state;
	static const uint8_t fdinfo[] = { 0x19, 0x43, 0x56, 0x54, 0x32, 0x37, 0x21, 0x56,
					  8, 0, 0, 0, 8, 3, 16, 0, 24, 1, 32, 0,
					  144, 1, 0, 0, 8, 4 };

	file_put(x, IMG_FDINFO, fdinfo, sizeof(fdinfo));
	assert_refused(x, IMG_FDINFO, EINVAL,
		       "fdinfo-12.img: entry 1 at offset 20 is cut short (says 400 bytes, 2 are left)");
	file_put(x, IMG_FDINFO, fdinfo, 22);
	assert_refused(x, IMG_FDINFO, EINVAL,
		       "fdinfo-12.img: entry 1 at offset 20 is cut short (its length needs 4 bytes, 2 are left)");
}

static void test_damaged(void **state)
{
	struct fixture *x = *state;
	/* a required field is missing */
	static const uint8_t fs[] = { 0x19, 0x43, 0x56, 0x54, 0x12, 0x39, 0x40, 0x51, 2, 0, 0, 0, 8, 3 };

	file_put(x, IMG_FS, fs, sizeof(fs));
	assert_refused(x, IMG_FS, EINVAL, "fs-12.img: entry 0 at offset 8 is damaged: its 2 bytes are not a valid fs_entry");
	file_put(x, IMG_FS, fs, 8);
	assert_refused(x, IMG_FS, EINVAL, "fs-12.img: has no entry behind its magic");
}

static void test_two_where_one(void **state)
{
	struct fixture *x = *state;
	FsEntry *e = arena_msg(x->a, fs_entry, FsEntry);
	struct img_msg two[2] = { { .msg = &e->base }, { .msg = &e->base } };

	assert_int_equal(img_write_all(x->dirfd, IMG_FS, 12, two, 2), 0);
	assert_refused(x, IMG_FS, EINVAL, "fs-12.img: has 2 entries, expected one");
}

static void test_payload_missing(void **state)
{
	struct fixture *x = *state;
	PipeDataEntry *e = arena_msg(x->a, pipe_data_entry, PipeDataEntry);
	struct img_msg m = { .msg = &e->base, .payload = (const uint8_t *)"hello", .payload_len = 5 };
	auto_close int fd = -1;

	e->bytes = 100;
	assert_int_equal(img_write_all(x->dirfd, IMG_PIPES_DATA, 12, &m, 1), -EINVAL);
	fd = img_create(x->dirfd, IMG_PIPES_DATA, 12);
	assert_true(fd >= 0);
	assert_int_equal(img_append(fd, IMG_PIPES_DATA, 12, m.msg), 0);
	assert_int_equal(io_write(fd, "hello", 5), 0);
	assert_refused(x, IMG_PIPES_DATA, EINVAL, "pipes-data.img: entry 0 at offset 8 is cut short (100 bytes of data belong "
						  "to it, 5 are left)");
}

static void pagemap_put(struct fixture *x, uint32_t flags, int with_field)
{
	PagemapHead *head = arena_msg(x->a, pagemap_head, PagemapHead);
	PagemapEntry *e = arena_msg(x->a, pagemap_entry, PagemapEntry);
	ProtobufCMessageUnknownField field = { .tag = 9, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1,
					       .data = (uint8_t *)"\x05" };
	struct img_msg v[2] = { { .msg = &head->base }, { .msg = &e->base } };

	e->has_flags = 1;
	e->flags = flags;
	e->base.n_unknown_fields = with_field ? 1 : 0;
	e->base.unknown_fields = &field;
	assert_int_equal(img_write_all(x->dirfd, IMG_PAGEMAP, 12, v, 2), 0);
}

static void test_pages_of_the_future(void **state)
{
	struct fixture *x = *state;

	pagemap_put(x, 0xc, 0);
	assert_refused(x, IMG_PAGEMAP, ENOTSUP,
		       "pagemap-12.img: entry 1 at offset 14: pages with flags 0x8 (compressed?) are not supported yet");
	pagemap_put(x, 0x4, 1);
	assert_refused(x, IMG_PAGEMAP, ENOTSUP,
		       "pagemap-12.img: entry 1 at offset 14: pages with field 9 (compressed?) are not supported yet");
}

static void test_unknown_fields_survive(void **state)
{
	struct fixture *x = *state;
	static const uint8_t fs[] = { 0x19, 0x43, 0x56, 0x54, 0x12, 0x39, 0x40, 0x51, 11, 0, 0, 0,
				      8, 3, 16, 4, 24, 18, 0xa2, 6, 2, 'h', 'i' };
	uint8_t again[sizeof(fs) + 1];
	struct json_object *json;
	FsEntry *e;
	auto_close int fd = -1;

	file_put(x, IMG_FS, fs, sizeof(fs));
	assert_int_equal(img_read_one(x->dirfd, IMG_FS, 12, x->a, &e), 0);
	assert_int_equal(e->umask, 18);
	json = img_to_json(&e->base);
	assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN),
			    "{\"cwd_id\":3,\"root_id\":4,\"umask\":18,\"_unknown\":1}");
	json_object_put(json);
	assert_int_equal(img_write_one(x->dirfd, IMG_FS, 12, &e->base), 0);
	fd = img_open(x->dirfd, IMG_FS, 12);
	assert_int_equal(io_read(fd, again, sizeof(again)), sizeof(fs));
	assert_memory_equal(again, fs, sizeof(fs));
}

static void test_nested_deeply(void **state)
{
	struct fixture *x = *state;
	enum { LEN = 200000 };
	uint8_t *p = arena_alloc(x->a, LEN), *at = p + LEN;
	struct img_msgs all;

	/* cgroup_dir_entry in cgroup_dir_entry ..., built from the innermost out, with lengths that take 3 bytes */
	while (at - p > 64) {
		size_t len = (size_t)(p + LEN - at);

		*--at = (uint8_t)(len >> 14);
		*--at = (uint8_t)(len >> 7 | 0x80);
		*--at = (uint8_t)(len | 0x80);
		*--at = 2 << 3 | 2;
	}
	memcpy(at - 12, (const uint32_t[]){ 0x54564319, 0x59383330, (uint32_t)(p + LEN - at) }, 12);
	assert_int_equal(img_parse(img_type(IMG_CGROUP), "it", at - 12, (size_t)(p + LEN - at) + 12, x->a, &all),
			 -EINVAL);
	assert_string_equal(err_text(), "it: entry 0 at offset 8 is nested too deeply");
}

/* A file that cannot grow stands for a full disk. */
static void test_no_room(void **state)
{
	struct fixture *x = *state;
	struct rlimit was, tiny = { 1000, RLIM_INFINITY };
	MemfdInodeEntry *e = arena_msg(x->a, memfd_inode_entry, MemfdInodeEntry);
	int r;

	e->name = memset(arena_alloc(x->a, 100000), 'x', 99999);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	tiny.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_FSIZE, &tiny);
	r = img_write_one(x->dirfd, IMG_MEMFD, 12, &e->base);
	setrlimit(RLIMIT_FSIZE, &was);
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(err_text(), "memfd.img: write: File too large"));
}

/* A link that waits at the image's name is replaced, not followed; nobody else may read the image. */
static void test_link_is_replaced(void **state)
{
	struct fixture *x = *state;
	FsEntry *e = arena_msg(x->a, fs_entry, FsEntry);
	struct stat st;

	assert_int_equal(symlinkat("victim", x->dirfd, "fs-12.img"), 0);
	assert_int_equal(img_write_one(x->dirfd, IMG_FS, 12, &e->base), 0);
	assert_int_equal(fstatat(x->dirfd, "victim", &st, 0), -1);
	assert_int_equal(fstatat(x->dirfd, "fs-12.img", &st, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
}

static void test_ghost(void **state)
{
	struct fixture *x = *state;
	GhostFileEntry *head = arena_msg(x->a, ghost_file_entry, GhostFileEntry);
	GhostChunkEntry *chunk = arena_msg(x->a, ghost_chunk_entry, GhostChunkEntry);
	struct img_msg v[2] = { { .msg = &head->base, .payload = (const uint8_t *)"whole", .payload_len = 5 },
				{ .msg = &chunk->base, .payload = (const uint8_t *)"bytes", .payload_len = 5 } };
	struct img_msgs all;

	assert_int_equal(img_write_all(x->dirfd, IMG_GHOST_FILE, 12, v, 1), 0);
	assert_int_equal(img_read_all(x->dirfd, IMG_GHOST_FILE, 12, x->a, &all), 0);
	assert_int_equal(all.n, 1);
	assert_int_equal(all.v[0].payload_len, 5);
	assert_null(all.v[0].payload);

	head->has_chunks = head->chunks = 1;
	chunk->len = 5;
	v[0].payload_len = 0;
	assert_int_equal(img_write_all(x->dirfd, IMG_GHOST_FILE, 12, v, 2), 0);
	assert_int_equal(img_read_all(x->dirfd, IMG_GHOST_FILE, 12, x->a, &all), 0);
	assert_int_equal(all.n, 2);
	assert_int_equal(all.v[1].payload_len, 5);
}

static void test_json_text(void **state)
{
	struct fixture *x = *state;
	MemfdInodeEntry *e = arena_msg(x->a, memfd_inode_entry, MemfdInodeEntry);
	struct json_object *json;

	e->name = (char[]){ "\xc3\xa4\xff\"" };
	e->size = UINT64_MAX;
	json = img_to_json(&e->base);
	assert_string_equal(json_object_get_string(json_object_object_get(json, "name")), "\xc3\xa4\xc3\xbf\"");
	assert_true(json_object_get_uint64(json_object_object_get(json, "size")) == UINT64_MAX);
	json_object_put(json);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names),
		TEST(test_foreign_names),
		TEST(test_missing),
		TEST(test_fifo_does_not_hang),
		TEST(test_magic),
		TEST(test_cut_short),
		TEST(test_damaged),
		TEST(test_two_where_one),
		TEST(test_payload_missing),
		TEST(test_pages_of_the_future),
		TEST(test_unknown_fields_survive),
		TEST(test_nested_deeply),
		TEST(test_no_room),
		TEST(test_link_is_replaced),
		TEST(test_ghost),
		TEST(test_json_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
