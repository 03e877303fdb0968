/* SPDX-License-Identifier: Apache-2.0 */
/* CPU quotas of control groups, in a made-up mount of both versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kern/cpus.h"

static char root[] = "/tmp/thaw-cpus-XXXXXX";

static void put(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, dir);
	for (char *p = path + strlen(root) + 1; *p; p++)
		if (*p == '/') {
			*p = 0;
			mkdir(path, 0700);
			*p = '/';
		}
	mkdir(path, 0700);
	strncat(path, "/", sizeof(path) - strlen(path) - 1);
	strncat(path, name, sizeof(path) - strlen(path) - 1);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static unsigned quota(const char *own)
{
	int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	unsigned n = cpus_quota(fd, own);

	close(fd);
	return n;
}

static int make(void **state)
{
	(void)state;
	if (!mkdtemp(root))
		return -1;
	put("a", "cpu.max", "350000 100000\n");
	put("a/b", "cpu.max", "max 100000\n");
	put("a/c", "cpu.max", "100000 100000\n");
	put("a/d", "cpu.max", "1 100000\n");
	put("a/e", "cpu.max", "nonsense\n");
	put("cpu,cpuacct/x", "cpu.cfs_quota_us", "200000\n");
	put("cpu,cpuacct/x", "cpu.cfs_period_us", "100000\n");
	put("cpu,cpuacct/x/y", "cpu.cfs_quota_us", "-1\n");
	put("cpu,cpuacct/x/y", "cpu.cfs_period_us", "100000\n");
	put("cpu", "cpu.cfs_quota_us", "500000\n");
	put("cpu", "cpu.cfs_period_us", "0\n");
	return 0;
}

static int unmake(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void version_2(void **state)
{
	(void)state;
	assert_int_equal(quota("0::/\n"), 0);
	assert_int_equal(quota("0::/a\n"), 4);
	assert_int_equal(quota("0::/a/b\n"), 4); /* its parent's */
	assert_int_equal(quota("0::/a/c\n"), 1);
	assert_int_equal(quota("0::/a/d\n"), 1); /* never none */
	assert_int_equal(quota("0::/a/e"), 4);
	assert_int_equal(quota("0::/not/there\n"), 0);
}

static void version_1(void **state)
{
	(void)state;
	assert_int_equal(quota("5:memory:/x\n3:cpu,cpuacct:/x\n0::/\n"), 2);
	assert_int_equal(quota("3:cpu,cpuacct:/x/y\n"), 2);
	assert_int_equal(quota("3:cpu:/\n"), 0); /* a period of 0 is none */
	assert_int_equal(quota("3:cpuset:/a\n4:cpuacct:/x\n"), 0);
	assert_int_equal(quota("3:cpu,cpuacct:/x\n0::/a/c\n"), 1);
}

static void odd(void **state)
{
	(void)state;
	assert_int_equal(quota(""), 0);
	assert_int_equal(quota("\n\n:\n0:\n::\n0::\n"), 0);
	assert_true(cpus_usable() >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(version_2), cmocka_unit_test(version_1),
					    cmocka_unit_test(odd) };

	return cmocka_run_group_tests(tests, make, unmake);
}
