/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of a pages file in memory: a block that is being made when it turns out that another cannot be had. Whoever
 * writes to it waits for its maker, who would write a zero over the first byte.
 *
 * The two system calls that make a block are this program's own here: one stalls, the other fails when told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "page/pages_file.h"

enum { BLOCK = 2 << 20, BLOCKS = 4, PAGE = 4096, TRIES = 200 };

static _Atomic bool stalls, stalled, written;
static const uint8_t *_Atomic refused; /* no huge page here */

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	if (off == BLOCK && atomic_load(&stalls)) {
		atomic_store(&stalled, true);
		while (atomic_load(&stalls))
			sched_yield();
	}
	return syscall(SYS_pwrite64, fd, buf, len, off);
}

int madvise(void *at, size_t len, int advice)
{
	if (advice == 25 /* MADV_COLLAPSE */ && at == atomic_load(&refused)) {
		errno = ENOMEM;
		return -1;
	}
	return (int)syscall(SYS_madvise, at, len, advice);
}

static void *make_block(void *arg)
{
	return pages_file_room(arg, BLOCK, PAGE);
}

static void *write_page(void *arg)
{
	uint8_t *to = pages_file_room(arg, BLOCK, PAGE);

	memset(to, 0xff, PAGE);
	atomic_store(&written, true);
	return to;
}

static void test_short_of_huge(void **state)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	struct pages_file f = { .fd = open("/dev/shm", O_TMPFILE | O_RDWR, 0600), .pages_id = 1 };
	pthread_t maker, writer;
	uint8_t first;

	(void)state;
	assert_true(f.fd >= 0);
	pages_file_prepare(&f, BLOCKS * BLOCK, 4);
	if (!f.block) {
		print_message("no huge pages in /dev/shm\n");
		skip();
	}
	atomic_store(&stalls, true);
	assert_int_equal(pthread_create(&maker, NULL, make_block, &f), 0);
	while (!atomic_load(&stalled))
		sched_yield();
	atomic_store(&refused, f.map + 2 * BLOCK);
	assert_non_null(pages_file_room(&f, 2 * BLOCK, PAGE));
	assert_int_equal(pthread_create(&writer, NULL, write_page, &f), 0);
	for (int i = 0; i < TRIES && !atomic_load(&written); i++)
		nanosleep(&moment, NULL);
	atomic_store(&stalls, false);
	pthread_join(maker, NULL);
	pthread_join(writer, NULL);
	assert_int_equal(pages_file_finish(&f, BLOCKS * BLOCK), 0);
	assert_int_equal(pread(f.fd, &first, 1, BLOCK), 1);
	assert_int_equal(first, 0xff);
	close(f.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_short_of_huge) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
