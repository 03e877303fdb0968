/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing all of it: what a process that has died makes of it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/io.h"
#include "child.h"

static char there[16];

static void ready(void *arg, int fd)
{
	(void)arg;
	child_ready(fd);
}

/* Its memory is gone, /proc/PID/mem is not: the kernel writes and reads 0 bytes. It must be no endless loop. */
static void test_memory_of_the_dead(void **state)
{
	pid_t pid = child_start(ready, NULL);
	char path[40], buf[sizeof(there)];
	siginfo_t si;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(io_pwrite(fd, "alive", 6, (uintptr_t)there), 0);
	assert_int_equal(io_pread(fd, buf, sizeof(buf), (uintptr_t)there), sizeof(buf));
	assert_string_equal(buf, "alive");
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	alarm(10);
	assert_int_equal(io_pwrite(fd, "dead", 5, (uintptr_t)there), -EIO);
	assert_int_equal(io_pread(fd, buf, sizeof(buf), (uintptr_t)there), 0);
	alarm(0);
	close(fd);
	child_end(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_of_the_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
