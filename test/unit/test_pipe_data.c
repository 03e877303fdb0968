/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a pipe is copied without taking it; who holds the other end is known. */
#include "files_fixture.h"

#include <sys/ioctl.h>

#include "kind/pipe_data.h"

static struct pipe_object *seen(struct files_fixture *x, int fd, bool fifo)
{
	struct fd_facts f = { .tfd = fd, .fd = fd, .link = "pipe:[1]" };
	struct pipe_object *o;

	assert_int_equal(fstat(fd, &f.st), 0);
	f.flags = (uint32_t)fcntl(fd, F_GETFL);
	o = pipe_table_inode(&x->d, &f, fifo);
	if (pipe_data_see(&x->d, o, &f) < 0)
		fail_msg("%s", err_text());
	return o;
}

static const PipeDataEntry *data_of(struct files_fixture *x, enum img_id id, size_t i)
{
	assert_true(i < x->d.snap->list[id].n);
	return (const PipeDataEntry *)x->d.snap->list[id].v[i].msg;
}

static void test_contents_stay(void **state)
{
	struct files_fixture *x = *state;
	char text[8];
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], "queued", 6), 6);
	assert_ptr_equal(seen(x, p[1], false), seen(x, p[0], false));
	assert_int_equal(pipe_data_finish(&x->d, false), 0);
	assert_int_equal(data_of(x, IMG_PIPES_DATA, 0)->bytes, 6);
	assert_int_equal(data_of(x, IMG_PIPES_DATA, 0)->size, 65536);
	assert_memory_equal(x->d.snap->list[IMG_PIPES_DATA].v[0].payload, "queued", 6);
	assert_int_equal(read(p[0], text, sizeof(text)), 6);
}

static void test_an_end_outside_is_refused(void **state)
{
	struct files_fixture *x = *state;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_true(seen(x, p[0], false)->far_writer);
	assert_int_equal(pipe_data_finish(&x->d, false), -ENOTSUP);
	assert_non_null(strstr(err_text(), "outside of the tree"));
}

static void test_an_end_that_is_closed_is_fine(void **state)
{
	struct files_fixture *x = *state;
	int in[2], out[2];

	assert_int_equal(pipe(in) | pipe(out), 0);
	assert_int_equal(write(in[1], "x", 1), 1);
	close(in[1]);
	close(out[0]);
	assert_false(seen(x, in[0], false)->far_writer);
	assert_false(seen(x, out[1], false)->far_reader);
	assert_int_equal(pipe_data_finish(&x->d, false), 0);
	assert_int_equal(x->d.snap->list[IMG_PIPES_DATA].n, 2);
}

static void test_a_fifo_without_writer_is_told_from_one_with(void **state)
{
	struct files_fixture *x = *state;
	int reader, writer;

	assert_int_equal(mkfifo("a", 0600) | mkfifo("b", 0600), 0);
	reader = open("a", O_RDONLY | O_NONBLOCK);
	assert_false(seen(x, reader, true)->far_writer);
	reader = open("b", O_RDONLY | O_NONBLOCK);
	writer = open("b", O_WRONLY);
	assert_true(writer >= 0 && seen(x, reader, true)->far_writer);
	assert_int_equal(pipe_data_finish(&x->d, false), 0);
	assert_int_equal(pipe_data_finish(&x->d, true), -ENOTSUP);
}

static void test_packets(void **state)
{
	struct files_fixture *x = *state;
	struct fd_facts f = { .tfd = 0, .link = "pipe:[2]" };
	struct pipe_object o = { .pipe_id = 9 };
	int p[2];

	assert_int_equal(pipe2(p, O_DIRECT), 0);
	assert_int_equal(write(p[1], "one", 3), 3);
	seen(x, p[0], false);
	assert_int_equal(write(p[1], "two", 3), 3);
	f.fd = p[0];
	f.flags = O_RDONLY;
	assert_int_equal(pipe_data_see(&x->d, &o, &f), -ENOTSUP);
	assert_non_null(strstr(err_text(), "packets"));
}

static void test_put(void **state)
{
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	struct img_msg m = { .msg = &e.base, .payload = (const uint8_t *)"abcdef", .payload_len = 6 };
	struct pipe_object o = { .data = &m };
	char big[8193] = { 0 }, text[8];
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	e.bytes = 6;
	e.has_size = true;
	e.size = 8192;
	assert_int_equal(pipe_data_put(&o, p[1]), 0);
	assert_int_equal(fcntl(p[0], F_GETPIPE_SZ), 8192);
	assert_int_equal(read(p[0], text, sizeof(text)), 6);
	assert_memory_equal(text, "abcdef", 6);
	/* more than fits: a sentence, and no waiting */
	m.payload = (const uint8_t *)big;
	m.payload_len = sizeof(big);
	assert_true(pipe_data_put(&o, p[1]) < 0);
	assert_non_null(strstr(err_text(), "8193"));
}

#define PIPE_TEST(fn) cmocka_unit_test_setup_teardown(fn, files_setup, files_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PIPE_TEST(test_contents_stay),
		PIPE_TEST(test_an_end_outside_is_refused),
		PIPE_TEST(test_an_end_that_is_closed_is_fine),
		PIPE_TEST(test_a_fifo_without_writer_is_told_from_one_with),
		PIPE_TEST(test_packets),
		PIPE_TEST(test_put),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
