/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that CRIU 4.2 wrote: we read them, write them back to the same bytes,
 * and see the values that CRIU's own decoder printed. Damaged copies of them
 * end in a sentence.
 *
 *   test_golden IMAGES DECODED    directories of image directories and of their JSON
 *
 * The JSON is made for people: addresses are hex strings and flags are names,
 * so numbers are compared as numbers and named flags are passed over, but
 * counted, so that a comparison that compares nothing fails.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "img/img_json.h"
#include "img/imgdir.h"

enum { DAMAGE_LEN_MAX = 2500, IMAGES_MIN = 60, VALUES_MIN = 5000 };

struct golden {
	const char *images, *decoded;
	size_t n_images, n_values, n_named;
};

/* Calls each(g, dir name, image directory) for every directory of images. */
static void dirs_each(struct golden *g, void (*each)(struct golden *g, const char *name, const struct imgdir *d))
{
	auto_dir DIR *top = opendir(g->images);
	const struct dirent *de;

	assert_non_null(top);
	while ((de = readdir(top))) {
		struct arena *a;
		struct imgdir *d;

		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		a = arena_new();
		if (imgdir_open(dirfd(top), de->d_name, a, &d) < 0)
			fail_msg("%s", err_text());
		each(g, de->d_name, d);
		imgdir_close(d);
		arena_free(a);
	}
}

static void files_each(struct golden *g, const char *name, const struct imgdir *d,
		       void (*each)(struct golden *g, const char *name, const struct imgdir *d,
				    const struct imgdir_file *f))
{
	struct imgdir_file *v;
	size_t n;

	assert_int_equal(imgdir_list(d, d->a, &v, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (v[i].type->desc)
			each(g, name, d, &v[i]);
}

static char *bytes_of(int at, const struct imgdir_file *f, size_t *ret_len)
{
	auto_close int fd = img_open(at, f->type->id, f->num);
	struct stat st;
	char *buf;

	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	buf = malloc((size_t)st.st_size + 1);
	assert_int_equal(io_pread(fd, buf, (size_t)st.st_size, 0), st.st_size);
	*ret_len = (size_t)st.st_size;
	return buf;
}

static void same_bytes(struct golden *g, const char *dir, const struct imgdir *d, const struct imgdir_file *f)
{
	char tmp[] = "/tmp/thaw-golden-XXXXXX", name[IMG_NAME_LEN];
	auto_close int out = open(mkdtemp(tmp), O_RDONLY | O_DIRECTORY);
	auto_free char *was = NULL, *is = NULL;
	size_t was_len, is_len;
	struct img_msgs all;

	if (img_read_all(d->dirfd, f->type->id, f->num, d->a, &all) < 0 ||
	    img_write_all(out, f->type->id, f->num, all.v, all.n) < 0)
		fail_msg("%s: %s", dir, err_text());
	was = bytes_of(d->dirfd, f, &was_len);
	is = bytes_of(out, f, &is_len);
	if (was_len != is_len || memcmp(was, is, is_len) != 0)
		fail_msg("%s/%s: %zu bytes became %zu other ones", dir, img_name(name, f->type->id, f->num), was_len,
			 is_len);
	unlinkat(out, img_name(name, f->type->id, f->num), 0);
	rmdir(tmp);
	g->n_images++;
}

static void dir_same_bytes(struct golden *g, const char *name, const struct imgdir *d)
{
	files_each(g, name, d, same_bytes);
}

static void test_same_bytes(void **state)
{
	struct golden *g = *state;

	dirs_each(g, dir_same_bytes);
	print_message("%zu images are the same bytes again\n", g->n_images);
	assert_true(g->n_images >= IMAGES_MIN);
}

static void value_compare(struct golden *g, const char *where, struct json_object *theirs, struct json_object *ours);

static void object_compare(struct golden *g, const char *where, struct json_object *theirs, struct json_object *ours)
{
	json_object_object_foreach(theirs, key, val)
	{
		const char *our_key = strcmp(key, "extra") == 0 ? "_payload" : key;
		struct json_object *mine = json_object_object_get(ours, our_key);
		char sub[512];

		snprintf(sub, sizeof(sub), "%s.%s", where, key);
		if (!mine && json_object_is_type(val, json_type_array) && !json_object_array_length(val))
			continue;
		if (!mine && json_object_is_type(val, json_type_string) && !json_object_get_string_len(val))
			continue;
		if (!mine)
			fail_msg("%s is missing", sub);
		value_compare(g, sub, val, mine);
	}
}

static void array_compare(struct golden *g, const char *where, struct json_object *theirs, struct json_object *ours)
{
	assert_int_equal(json_object_array_length(theirs), json_object_array_length(ours));
	for (size_t i = 0; i < json_object_array_length(theirs); i++)
		value_compare(g, where, json_object_array_get_idx(theirs, i), json_object_array_get_idx(ours, i));
}

static uint64_t number_of(struct json_object *o)
{
	if (json_object_is_type(o, json_type_string))
		return strtoull(json_object_get_string(o), NULL, 16);
	return json_object_get_int64(o) < 0 ? (uint64_t)json_object_get_int64(o) : json_object_get_uint64(o);
}

/* Their base64 has line breaks in it. */
static void text_compare(const char *where, struct json_object *theirs, struct json_object *ours)
{
	const char *a = json_object_get_string(theirs), *b = json_object_get_string(ours);

	for (const char *x = a, *y = b;; x++) {
		if (*x == '\n')
			continue;
		if (*x != *y)
			fail_msg("%s: '%s' became '%s'", where, a, b);
		if (!*y++)
			return;
	}
}

static void value_compare(struct golden *g, const char *where, struct json_object *theirs, struct json_object *ours)
{
	int their_text = json_object_is_type(theirs, json_type_string),
	    our_text = json_object_is_type(ours, json_type_string);

	if (json_object_is_type(theirs, json_type_object)) {
		object_compare(g, where, theirs, ours);
	} else if (json_object_is_type(theirs, json_type_array)) {
		array_compare(g, where, theirs, ours);
	} else if (their_text && our_text) {
		text_compare(where, theirs, ours);
		g->n_values++;
	} else if (our_text || (their_text && strncmp(json_object_get_string(theirs), "0x", 2) != 0)) {
		g->n_named++;
	} else if (number_of(theirs) != number_of(ours)) {
		fail_msg("%s: %s became %s", where, json_object_to_json_string(theirs),
			 json_object_to_json_string(ours));
	} else {
		g->n_values++;
	}
}

static void same_values(struct golden *g, const char *dir, const struct imgdir *d, const struct imgdir_file *f)
{
	struct json_object *theirs, *ours;
	char name[IMG_NAME_LEN], path[1024];
	struct img_msgs all;

	img_name(name, f->type->id, f->num);
	snprintf(path, sizeof(path), "%s/%s/%.*sjson", g->decoded, dir, (int)(strlen(name) - 3), name);
	theirs = json_object_from_file(path);
	if (!theirs)
		return; /* the largest pagemap was not decoded whole */
	assert_int_equal(img_read_all(d->dirfd, f->type->id, f->num, d->a, &all), 0);
	ours = img_msgs_to_json(f->type, &all);
	value_compare(g, path, json_object_object_get(theirs, "entries"), json_object_object_get(ours, "entries"));
	json_object_put(theirs);
	json_object_put(ours);
}

static void dir_same_values(struct golden *g, const char *name, const struct imgdir *d)
{
	files_each(g, name, d, same_values);
}

static void test_same_values(void **state)
{
	struct golden *g = *state;

	if (!g->decoded)
		skip();
	dirs_each(g, dir_same_values);
	print_message("%zu values are the same, %zu have names instead\n", g->n_values, g->n_named);
	assert_true(g->n_values >= VALUES_MIN);
}

/* A copy of exactly len bytes, so that a sanitizer sees a read behind its end. */
static void damaged_parse(const struct imgdir_file *f, const char *bytes, size_t len)
{
	auto_free char *copy = malloc(len ? len : 1);
	struct arena *a = arena_new();
	struct img_msgs all;

	memcpy(copy, bytes, len);
	err_clear();
	if (img_parse(f->type, "it", copy, len, a, &all) < 0)
		assert_true(strncmp(err_text(), "it: ", 4) == 0);
	arena_free(a);
}

static void file_damage(struct golden *g, const char *dir, const struct imgdir *d, const struct imgdir_file *f)
{
	auto_free char *bytes = NULL;
	size_t len;

	(void)g;
	(void)dir;
	if (f->len > DAMAGE_LEN_MAX)
		return;
	bytes = bytes_of(d->dirfd, f, &len);
	for (size_t cut = 0; cut < len; cut++)
		damaged_parse(f, bytes, cut);
	for (size_t i = 0; i < len; i++) {
		bytes[i] ^= (char)(1 << i % 8);
		damaged_parse(f, bytes, len);
		bytes[i] ^= (char)(1 << i % 8);
	}
}

static void dir_damage(struct golden *g, const char *name, const struct imgdir *d)
{
	files_each(g, name, d, file_damage);
}

static void test_damaged(void **state)
{
	dirs_each(*state, dir_damage);
}

int main(int argc, char **argv)
{
	struct golden g = { .images = argv[1], .decoded = argc > 2 ? argv[2] : NULL };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_same_bytes, &g),
		cmocka_unit_test_prestate(test_same_values, &g),
		cmocka_unit_test_prestate(test_damaged, &g),
	};

	if (argc < 2)
		return 2;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
