/* SPDX-License-Identifier: Apache-2.0 */
/* Files with a name: what is noticed at restore, what an image cannot make thaw do, build IDs. */
#include "files_fixture.h"

#include <elf.h>

#include "kind/build_id.h"

static RegFileEntry *entry(struct files_fixture *x, const char *name, size_t len)
{
	RegFileEntry *m = arena_msg(x->d.a, reg_file_entry, RegFileEntry);
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *text = calloc(1, len + 1);

	assert_int_equal(write(fd, text, len), len);
	free(text);
	close(fd);
	m->name = arena_printf(x->d.a, "%s/%s", x->path, name);
	m->has_size = m->has_mode = true;
	m->size = len;
	m->mode = S_IFREG | 0600;
	m->flags = O_RDWR;
	return m;
}

static void test_unchanged(void **state)
{
	RegFileEntry *m = entry(*state, "f", 12);

	assert_int_equal(reg_file_check(m->name, m), 0);
}

static void test_changed_size_is_refused_with_both(void **state)
{
	RegFileEntry *m = entry(*state, "f", 12);

	assert_int_equal(truncate("f", 34), 0);
	assert_int_equal(reg_file_check(m->name, m), -EINVAL);
	assert_non_null(strstr(err_text(), m->name));
	assert_non_null(strstr(err_text(), "34 bytes now"));
	assert_non_null(strstr(err_text(), "it had 12"));
}

static void test_changed_type_is_refused(void **state)
{
	RegFileEntry *m = entry(*state, "f", 0);

	unlink("f");
	assert_int_equal(mkfifo("f", 0600), 0);
	assert_int_equal(reg_file_check(m->name, m), -EINVAL);
	assert_non_null(strstr(err_text(), "is a fifo now, it was a regular file"));
}

static void test_missing_is_refused(void **state)
{
	RegFileEntry *m = entry(*state, "f", 0);

	unlink("f");
	assert_int_equal(reg_file_check(m->name, m), -ENOENT);
	assert_non_null(strstr(err_text(), m->name));
	m->name = (char *)"relative";
	assert_int_equal(reg_file_check(m->name, m), -EINVAL);
}

/* Whatever flags an image has, opening creates nothing and empties nothing. */
static void test_open_is_harmless(void **state)
{
	static const uint32_t bad[] = { O_TRUNC, O_CREAT, O_CREAT | O_EXCL, O_TMPFILE, O_ASYNC | O_TRUNC };
	RegFileEntry *m = entry(*state, "f", 12);
	struct stat st;

	m->pos = 5;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd;

		m->flags = O_RDWR | bad[i];
		fd = reg_file_open(m->name, m);
		assert_true(fd >= 0);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 5);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 12);
		close(fd);
	}
	unlink("f");
	m->flags = O_RDWR | O_CREAT;
	assert_int_equal(reg_file_open(m->name, m), -ENOENT);
	assert_int_equal(access("f", F_OK), -1);
}

static void test_dump_and_open_again(void **state)
{
	struct files_fixture *x = *state;
	int fd = open("g", O_RDWR | O_CREAT | O_APPEND, 0640), again;
	const RegFileEntry *m;

	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(files_dump_fd(x, fd, 1), 0);
	m = snap_file(x->d.snap, 1)->reg;
	assert_false(m->has_size); /* it is opened to append: it may have grown by then */
	assert_int_equal(m->mode, S_IFREG | 0640);
	assert_int_equal(reg_file_check(m->name, m), 0);
	again = reg_file_open(m->name, m);
	assert_int_equal(fcntl(again, F_GETFL), fcntl(fd, F_GETFL));
	assert_int_equal(lseek(again, 0, SEEK_CUR), 5);
	close(again);
	close(fd);
}

/* An ELF file of one note with the build ID 1, 2, 3. */
static size_t elf_make(uint8_t buf[static 512])
{
	Elf64_Ehdr eh = { .e_phoff = 64, .e_phnum = 2, .e_phentsize = sizeof(Elf64_Phdr) };
	Elf64_Phdr ph[2] = { { .p_type = PT_LOAD }, { .p_type = PT_NOTE, .p_offset = 200, .p_filesz = 64 } };
	const uint32_t notes[] = { 4, 4, 99, 0x554e47, 7, 4, 12, NT_GNU_BUILD_ID, 0x554e47, 1, 2, 3 };

	memset(buf, 0, 512);
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	memcpy(buf, &eh, sizeof(eh));
	memcpy(buf + 64, ph, sizeof(ph));
	memcpy(buf + 200, notes, sizeof(notes));
	return 512;
}

static int file_of(const uint8_t *buf, size_t len)
{
	int fd = open("elf", O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, buf, len), len);
	return fd;
}

static void test_build_id(void **state)
{
	uint32_t words[BUILD_ID_WORDS];
	uint8_t buf[512];
	int fd = file_of(buf, elf_make(buf));

	(void)state;
	assert_int_equal(build_id_read(fd, words), 3);
	assert_int_equal(words[0], 1);
	assert_int_equal(words[2], 3);
	close(fd);
}

/* Cut anywhere, or with any one byte wrong, it is found or not, and nothing else happens. */
static void test_build_id_of_damaged_files(void **state)
{
	uint32_t words[BUILD_ID_WORDS];
	uint8_t buf[512];
	size_t len = elf_make(buf);

	(void)state;
	for (size_t i = 0; i < len; i++) {
		int fd = file_of(buf, i);

		assert_in_range(build_id_read(fd, words), 0, BUILD_ID_WORDS);
		close(fd);
		buf[i] ^= 0xff;
		fd = file_of(buf, len);
		assert_in_range(build_id_read(fd, words), 0, BUILD_ID_WORDS);
		close(fd);
		buf[i] ^= 0xff;
	}
}

static void test_another_build_id_is_refused(void **state)
{
	struct files_fixture *x = *state;
	uint8_t buf[512];
	int fd = file_of(buf, elf_make(buf));
	RegFileEntry *m;

	assert_int_equal(files_dump_fd(x, fd, 2), 0);
	m = snap_file(x->d.snap, 2)->reg;
	assert_int_equal(m->n_build_id, 3);
	assert_int_equal(reg_file_check(m->name, m), 0);
	m->build_id[1]++;
	assert_int_equal(reg_file_check(m->name, m), -EINVAL);
	assert_non_null(strstr(err_text(), "another build ID"));
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unchanged),
		cmocka_unit_test(test_changed_size_is_refused_with_both),
		cmocka_unit_test(test_changed_type_is_refused),
		cmocka_unit_test(test_missing_is_refused),
		cmocka_unit_test(test_open_is_harmless),
		cmocka_unit_test(test_dump_and_open_again),
		cmocka_unit_test(test_build_id),
		cmocka_unit_test(test_build_id_of_damaged_files),
		cmocka_unit_test(test_another_build_id_is_refused),
	};

	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
