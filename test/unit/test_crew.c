/* SPDX-License-Identifier: Apache-2.0 */
/* Crews: everything is done once, memory outlives the helpers, the first failure is told, no helper stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/crew.h"

enum { PIECES = 5000, BAD = 1234 };

struct work {
	_Atomic int done[PIECES];
	char *text[PIECES];
	int bad;
};

static int one(void *ctx, size_t i, struct arena *a)
{
	struct work *w = ctx;

	atomic_fetch_add(&w->done[i], 1);
	w->text[i] = arena_printf(a, "piece %zu", i);
	if (w->bad && (int)i >= w->bad)
		return err_say(EIO, "piece %zu is bad", i);
	return 0;
}

static int threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void all_is_done_once(void **state)
{
	struct arena *a = arena_new();
	struct work *w = arena_alloc(a, sizeof(*w));
	int before = threads();

	(void)state;
	assert_int_equal(crew_finish(crew_start(a, PIECES, one, w)), 0);
	assert_int_equal(threads(), before);
	for (size_t i = 0; i < PIECES; i++) {
		char text[32];

		snprintf(text, sizeof(text), "piece %zu", i);
		assert_int_equal(atomic_load(&w->done[i]), 1);
		assert_string_equal(w->text[i], text);
	}
	arena_free(a);
}

static void the_first_failure_is_told(void **state)
{
	struct arena *a = arena_new();
	struct work *w = arena_alloc(a, sizeof(*w));

	(void)state;
	w->bad = BAD;
	assert_int_equal(crew_finish(crew_start(a, PIECES, one, w)), -EIO);
	assert_non_null(strstr(err_text(), "piece 1234 is bad"));
	for (size_t i = 0; i < BAD; i++)
		assert_int_equal(atomic_load(&w->done[i]), 1);
	arena_free(a);
}

static void a_cancelled_crew_says_nothing(void **state)
{
	struct arena *a = arena_new();
	struct work *w = arena_alloc(a, sizeof(*w));
	int before = threads();

	(void)state;
	w->bad = 1;
	assert_int_equal(err_say(EPERM, "the caller's own"), -EPERM);
	crew_cancel(crew_start(a, PIECES, one, w));
	assert_non_null(strstr(err_text(), "the caller's own"));
	assert_int_equal(threads(), before);
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_is_done_once),
		cmocka_unit_test(the_first_failure_is_told),
		cmocka_unit_test(a_cancelled_crew_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
