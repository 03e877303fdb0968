/* SPDX-License-Identifier: Apache-2.0 */
/* The budget of workers: never more are at work than there are, and none is lost, whoever takes and gives at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>

#include <cmocka.h>

#include "pie/budget.h"

enum { THREADS = 8, ROUNDS = 20000, WORKERS = 5 };

static struct pie_budget shared;
static atomic_int at_work, most;

static void takes_what_is_there(void **state)
{
	struct pie_budget b = { .free = 3 };

	(void)state;
	assert_int_equal(budget_take(&b, 2), 2);
	assert_int_equal(budget_take(&b, 2), 1);
	assert_int_equal(budget_take(&b, 2), 0);
	assert_int_equal(budget_take(&b, 0), 0);
	budget_count(&b); /* does not wait */
	assert_int_equal(b.free, -1);
	assert_int_equal(budget_take(&b, 9), 0);
	assert_false(budget_give(&b, 1));
	assert_int_equal(budget_take(&b, 9), 0);
	assert_false(budget_give(&b, 3));
	assert_int_equal(budget_take(&b, 9), 3);
}

static void rings_for_the_hungry(void **state)
{
	struct pie_budget b = { .free = 0 };

	(void)state;
	assert_false(budget_give(&b, 1));
	assert_int_equal(b.bell, 0);
	b.hungry = 1;
	assert_true(budget_give(&b, 1));
	assert_int_equal(b.bell, 1);
}

static void *work(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		uint32_t got = budget_take(&shared, 1 + (uint32_t)i % 3);
		int now = atomic_fetch_add(&at_work, (int)got) + (int)got, seen = atomic_load(&most);

		while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
			;
		atomic_fetch_sub(&at_work, (int)got);
		budget_give(&shared, got);
	}
	return arg;
}

static void many_at_once(void **state)
{
	pthread_t t[THREADS];

	(void)state;
	shared.free = WORKERS;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, work, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(shared.free, WORKERS);
	assert_true(atomic_load(&most) > 0 && atomic_load(&most) <= WORKERS);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(takes_what_is_there),
					    cmocka_unit_test(rings_for_the_hungry), cmocka_unit_test(many_at_once) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
