/* SPDX-License-Identifier: Apache-2.0 */
/* How many page workers a restore has by default, and what an option makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "restore/rt.h"

static const uint64_t MIB = 1 << 20, GIB = 1 << 30;

static void by_size(void **state)
{
	(void)state;
	assert_int_equal(fill_workers_choose(0, 0, 64), 0);
	assert_int_equal(fill_workers_choose(16 * MIB - 1, 0, 64), 0); /* the task itself is the one */
	assert_int_equal(fill_workers_choose(16 * MIB, 0, 64), 4);
	assert_int_equal(fill_workers_choose(256 * MIB - 1, 0, 64), 4);
	assert_int_equal(fill_workers_choose(256 * MIB, 0, 24), 16);
	assert_int_equal(fill_workers_choose(256 * MIB, 0, 64), 32);
	assert_int_equal(fill_workers_choose(64 * GIB, 0, 4096), LAYOUT_WORKERS);
}

static void never_more_than_cpus(void **state)
{
	(void)state;
	assert_int_equal(fill_workers_choose(16 * MIB, 0, 1), 1);
	assert_int_equal(fill_workers_choose(64 * GIB, 0, 1), 1);
	assert_int_equal(fill_workers_choose(64 * GIB, 0, 2), 2);
	assert_int_equal(fill_workers_choose(64 * GIB, 0, 12), 12);
}

static void as_asked(void **state)
{
	(void)state;
	assert_int_equal(fill_workers_choose(64 * GIB, 7, 2), 7);
	assert_int_equal(fill_workers_choose(64 * GIB, 1024, 2), LAYOUT_WORKERS);
	assert_int_equal(fill_workers_choose(64 * GIB, OPTS_SERIAL, 16), 0);
	assert_int_equal(fill_workers_choose(16 * MIB - 1, 7, 16), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(by_size), cmocka_unit_test(never_more_than_cpus),
					    cmocka_unit_test(as_asked) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
