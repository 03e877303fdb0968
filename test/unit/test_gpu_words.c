/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs and maps of GPUs, as users write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gpu/gpu_words.h"

#define A "GPU-c6a9fee4-6f85-951d-ba07-9c8063df3c57"
#define B "GPU-00000000-0000-0000-0000-0000000000ff"

static void uuid_there_and_back(void **state)
{
	struct gpu_map m;
	char text[GPU_UUID_TEXT];

	(void)state;
	assert_int_equal(gpu_map_parse(A "=" B, &m), 0);
	assert_int_equal(m.n, 1);
	assert_string_equal(gpu_uuid_text(m.pair[0].from, text), A);
	assert_string_equal(gpu_uuid_text(m.pair[0].to, text), B);
}

static void several_and_short_forms(void **state)
{
	struct gpu_map m;
	char text[GPU_UUID_TEXT];

	(void)state;
	assert_int_equal(gpu_map_parse(A "=" B "," B "=C6A9FEE46F85951DBA079C8063DF3C57", &m), 0);
	assert_int_equal(m.n, 2);
	assert_string_equal(gpu_uuid_text(m.pair[1].to, text), A);
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"", "=", A, A "=", "=" A, A "=" B ",", A "=" B ";" B "=" A, A "=" B "0", "GPU-=" B, A "=" A "," A "=" B,
		A "=" B "," B "=" B, "GPU-c6a9fee4-6f85-951d-ba07-9c8063df3c5=" B, "xyz=" B, A " = " B,
	};
	struct gpu_map m = { .n = 77 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gpu_map_parse(bad[i], &m), -EINVAL);
	assert_int_equal(m.n, 77); /* written only on success */
}

/* GPU_MOST pairs fit, one more is refused. */
static void too_many(void **state)
{
	char text[(GPU_MOST + 1) * 80] = "";
	struct gpu_map m;
	size_t len = 0;

	(void)state;
	for (unsigned i = 0; i <= GPU_MOST; i++) {
		if (i == GPU_MOST) {
			assert_int_equal(gpu_map_parse(text, &m), 0);
			assert_int_equal(m.n, GPU_MOST);
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%032x=%032x", i ? "," : "", i, i + 100);
	}
	assert_int_equal(gpu_map_parse(text, &m), -EINVAL);
	assert_non_null(strstr(err_text(), "more than 32"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uuid_there_and_back),
		cmocka_unit_test(several_and_short_forms),
		cmocka_unit_test(refused),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
