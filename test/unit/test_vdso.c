/* SPDX-License-Identifier: Apache-2.0 */
/* arch/x86_64/vdso.h on our own vDSO and on damaged copies of it; the bridge is walked over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include "arch/x86_64/vdso.h"

enum { DATA_LEN = 6 * 4096 };

static int setup(void **state)
{
	*state = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static const struct vdso_sym *find(const struct vdso *v, const char *name)
{
	for (size_t i = 0; i < v->nsyms; i++)
		if (!strcmp(v->syms[i].name, name))
			return &v->syms[i];
	return NULL;
}

/* A copy that can be changed and run. */
static uint8_t *copy_own(size_t *ret_len)
{
	const void *own = vdso_own(ret_len);
	uint8_t *p = mmap(NULL, *ret_len, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(own && p != MAP_FAILED);
	return memcpy(p, own, *ret_len);
}

static void rename_syms(uint8_t *bytes, size_t len, const char *from, const char *to)
{
	uint8_t *p;

	while ((p = memmem(bytes, len, from, strlen(from) + 1)))
		memcpy(p, to, strlen(from));
}

static void functions_are_found(void **state)
{
	size_t len;
	const void *own = vdso_own(&len);
	struct vdso v;

	if (!own)
		skip();
	assert_int_equal(vdso_parse(*state, own, len, &v), 0);
	assert_non_null(find(&v, "__vdso_clock_gettime"));
	assert_non_null(find(&v, "__vdso_getcpu"));
	for (size_t i = 1; i < v.nsyms; i++)
		assert_true(v.syms[i - 1].off <= v.syms[i].off);
}

static void the_same_is_kept(void **state)
{
	struct vdso_plan plan = { 0 };
	size_t len;
	const uint8_t *own = vdso_own(&len);

	assert_int_equal(vdso_plan(*state, own, len, 0x10000, DATA_LEN, own, len, 0x90000, DATA_LEN, &plan), 0);
	assert_true(plan.keep);
	assert_int_equal(plan.npatches, 0);
	/* the same code with other data pages is not the same */
	assert_int_equal(vdso_plan(*state, own, len, 0x10000, DATA_LEN, own, len, 0x90000, DATA_LEN - 4096, &plan), 0);
	assert_false(plan.keep);
}

static void the_bridge_carries(void **state)
{
	struct vdso_plan plan;
	struct vdso v;
	size_t len;
	const uint8_t *own = vdso_own(&len);
	uint8_t *image = copy_own(&len);
	struct timespec a = { 0 }, b = { 0 }, c = { 0 };
	int (*gettime)(clockid_t, struct timespec *);
	long (*getcpu)(unsigned *, unsigned *, void *);

	rename_syms(image, len, "__vdso_getcpu", "__vdso_getcpX");
	rename_syms(image, len, "getcpu", "getcpX");
	assert_false(vdso_same(image, len, own, len));
	assert_int_equal(vdso_plan(*state, image, len, (uint64_t)image, DATA_LEN, own, len, (uint64_t)own, DATA_LEN,
				   &plan),
			 0);
	assert_false(plan.keep);
	assert_true(plan.npatches >= 3);
	for (size_t i = 0; i < plan.npatches; i++)
		memcpy((void *)plan.patches[i].va, plan.patches[i].bytes, VDSO_PATCH_LEN);

	assert_int_equal(vdso_parse(*state, image, len, &v), 0);
	gettime = (void *)(image + find(&v, "__vdso_clock_gettime")->off);
	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(gettime(CLOCK_MONOTONIC, &b), 0);
	clock_gettime(CLOCK_MONOTONIC, &c);
	assert_true(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
	assert_true(c.tv_sec > b.tv_sec || (c.tv_sec == b.tv_sec && c.tv_nsec >= b.tv_nsec));
	getcpu = (void *)(image + find(&v, "__vdso_getcpX")->off);
	assert_int_equal(getcpu(NULL, NULL, NULL), -ENOSYS);

	assert_false(vdso_plan_hits(&plan, plan.patches[0].va));
	assert_true(vdso_plan_hits(&plan, plan.patches[0].va + 1));
	assert_false(vdso_plan_hits(&plan, plan.patches[0].va + VDSO_PATCH_LEN));
	munmap(image, len);
}

static void damage_is_a_sentence(void **state)
{
	size_t len;
	uint8_t *image = copy_own(&len);
	struct vdso v;

	(void)vdso_own(&len);
	assert_int_equal(vdso_parse(*state, image, 10, &v), -EINVAL);
	assert_int_equal(vdso_parse(*state, image, 4096, &v), -EINVAL);
	srandom(7);
	for (int i = 0; i < 20000; i++) {
		size_t at = (size_t)random() % (i & 1 ? 64 : len);
		uint8_t was = image[at], *p = malloc(len);
		struct vdso_plan plan;

		image[at] ^= (uint8_t)(1 << random() % 8);
		memcpy(p, image, len); /* on the heap, where a step outside is seen */
		(void)!vdso_plan(*state, p, len, 0x10000, DATA_LEN, image, len, 0x90000, DATA_LEN, &plan);
		if (vdso_parse(*state, p, len, &v) >= 0)
			for (size_t k = 0; k < v.nsyms; k++)
				assert_true(strlen(v.syms[k].name) < len && v.syms[k].off < len);
		free(p);
		image[at] = was;
	}
	munmap(image, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(functions_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(the_bridge_carries, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_a_sentence, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
