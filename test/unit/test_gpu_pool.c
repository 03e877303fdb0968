/* SPDX-License-Identifier: Apache-2.0 */
/* The context pools, on the stub driver: who gets what, what is left of a failure, what can be read afterwards. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "gpu/gpu_pool.h"

enum { GPUS = 3, SIZE = 2 };

static char rules[] = "/tmp/gpu-rules-XXXXXX", calls[] = "/tmp/gpu-calls-XXXXXX";

/* The stub lies beside the tests: build/asan/unit/.. and build/test/stub. */
static bool stub_find(void)
{
	char path[PATH_MAX + 40];
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);

	path[len > 0 ? len : 0] = 0;
	for (int i = 0; i < 3 && strrchr(path, '/'); i++)
		*strrchr(path, '/') = 0;
	strncat(path, "/test/stub/libcuda.so.1", 39);
	setenv("THAW_LIBCUDA", path, 1);
	return access(path, R_OK) == 0;
}

static void rules_set(const char *text)
{
	FILE *f = fopen(rules, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* How often the driver was called so since the last count. */
static int calls_count(const char *name)
{
	FILE *f = fopen(calls, "r");
	char line[128];
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strstr(line, name) && !strcmp(strchr(line, ' ') + 1 + strlen(name), "\n");
	if (f)
		fclose(f);
	return n;
}

static void calls_clear(void)
{
	assert_int_equal(truncate(calls, 0), 0);
}

static struct gpu_driver driver;

static int setup(void **state)
{
	(void)state;
	if (!stub_find())
		return 0;
	close(mkstemp(rules));
	close(mkstemp(calls));
	setenv("STUB_CUDA_RULES", rules, 1);
	setenv("STUB_CUDA_LOG", calls, 1);
	setenv("STUB_CUDA_GPUS", "1,2,3", 1);
	return cuda_api_load(&driver.api) < 0 || gpu_driver_init(&driver) < 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(rules);
	unlink(calls);
	return 0;
}

static struct gpu_pools *pools_new(void)
{
	struct gpu_pools *p;

	if (!driver.n)
		skip(); /* the stub was not built */
	p = calloc(1, sizeof(*p));
	calls_clear();
	rules_set("");
	assert_int_equal(gpu_pools_start(p, &driver, SIZE), 0);
	return p;
}

static void filled_wait(struct gpu_pools *p)
{
	for (size_t i = 0; i < GPUS; i++) {
		pthread_mutex_lock(&p->lock);
		while (p->pool[i].filling)
			pthread_cond_wait(&p->changed, &p->lock);
		pthread_mutex_unlock(&p->lock);
	}
}

/* Waits by asking for buffers. */
static struct gpu_holding hold(struct gpu_pools *p, pid_t pid, uint32_t gpus)
{
	struct gpu_want want = { .pid = pid, .gpus = gpus, .buffers = true };
	struct gpu_holding h;

	assert_int_equal(gpu_pools_acquire(p, &want, &h), 0);
	return h;
}

/* All that was made is gone. */
static void pools_end(struct gpu_pools *p)
{
	rules_set("");
	gpu_pools_end(p);
	for (size_t i = 0; i < GPUS; i++)
		assert_null(p->pool[i].first);
	assert_int_equal(calls_count("cuMemHostAlloc"), calls_count("cuMemFreeHost"));
	assert_int_equal(calls_count("cuStreamCreate"), calls_count("cuStreamDestroy_v2"));
	assert_int_equal(calls_count("cuDevicePrimaryCtxRetain"), calls_count("cuDevicePrimaryCtxRelease_v2"));
	assert_int_equal(calls_count("cuCtxPushCurrent_v2"), calls_count("cuCtxPopCurrent_v2"));
	free(p);
}

static void slots_go_round(void **state)
{
	struct gpu_pools *p = pools_new();
	struct gpu_holding a = hold(p, 7, 1), b = hold(p, 8, 1), c;

	(void)state;
	assert_int_equal(a.n, 1);
	assert_int_equal(a.slot[0]->pid, 7);
	assert_ptr_not_equal(a.slot[0], b.slot[0]);
	assert_false(a.slot[0]->extra || b.slot[0]->extra);
	gpu_pools_release(p, &a);
	c = hold(p, 9, 1);
	assert_false(c.slot[0]->extra);
	assert_int_equal(c.slot[0]->pid, 9);
	gpu_pools_release(p, &b);
	gpu_pools_release(p, &c);
	pools_end(p);
}

static void exhausted_makes_one_and_frees_it(void **state)
{
	struct gpu_pools *p = pools_new();
	struct gpu_holding h[SIZE + 2];
	int made;

	(void)state;
	for (int i = 0; i < SIZE + 2; i++)
		h[i] = hold(p, 10 + i, 2);
	assert_true(h[SIZE].slot[0]->extra && h[SIZE + 1].slot[0]->extra);
	assert_non_null(h[SIZE].slot[0]->buffer[1]);
	made = calls_count("cuMemFreeHost");
	gpu_pools_release(p, &h[SIZE]);
	assert_int_equal(calls_count("cuMemFreeHost"), made + GPU_BUFFERS);
	for (int i = 0; i < SIZE + 2; i++)
		gpu_pools_release(p, &h[i]);
	pools_end(p);
}

static void if_free_goes_without(void **state)
{
	struct gpu_want want = { .pid = 5, .gpus = 3, .if_free = true };
	struct gpu_pools *p = pools_new();
	struct gpu_holding a = hold(p, 1, 7), b = hold(p, 2, 1), h;

	(void)state;
	filled_wait(p);
	assert_int_equal(a.n, GPUS);
	assert_int_equal(gpu_pools_acquire(p, &want, &h), 0);
	assert_int_equal(h.n, 1); /* the first GPU has none left */
	assert_int_equal(h.slot[0]->gpu, 1);
	gpu_pools_release(p, &h);
	gpu_pools_release(p, &a);
	gpu_pools_release(p, &b);
	pools_end(p);
}

static void release_scrubs(void **state)
{
	struct gpu_pools *p = pools_new();
	struct gpu_holding h = hold(p, 7, 1);
	struct gpu_slot *s = h.slot[0];
	unsigned char *buffer = gpu_slot_buffer(s, 1, 5000);
	cuda_ptr mem, again;

	(void)state;
	memset(buffer, 0xaa, 5000);
	assert_int_equal(gpu_slot_mem(s, 1 << 20, &mem), 0);
	assert_int_equal(gpu_slot_mem(s, 1 << 20, &again), -EBUSY);
	calls_clear();
	gpu_pools_release(p, &h);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(buffer[i], 0);
	assert_int_equal(calls_count("cuMemsetD8_v2"), 1);
	assert_int_equal(calls_count("cuMemFree_v2"), 1);
	gpu_pools_end(p);
	free(p);
}

static void slot_that_cannot_be_scrubbed_goes(void **state)
{
	struct gpu_pools *p = pools_new();
	struct gpu_holding h = hold(p, 7, 1), more[SIZE];
	cuda_ptr mem;

	(void)state;
	assert_int_equal(gpu_slot_mem(h.slot[0], 4096, &mem), 0);
	rules_set("cuMemsetD8_v2 0 700\n");
	gpu_pools_release(p, &h);
	rules_set("");
	for (int i = 0; i < SIZE; i++)
		more[i] = hold(p, 20 + i, 1);
	assert_true(more[SIZE - 1].slot[0]->extra); /* one less in the pool */
	for (int i = 0; i < SIZE; i++)
		gpu_pools_release(p, &more[i]);
	pools_end(p);
}

/* Each call that a slot's making needs fails once, at each turn. */
static void failed_start_rolls_back(void **state)
{
	static const char *const call[] = {
		"cuDevicePrimaryCtxRetain", "cuCtxPushCurrent_v2", "cuStreamCreate", "cuMemHostAlloc",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(call) / sizeof(call[0]); i++) {
		struct gpu_want want = { .pid = 3, .gpus = 1, .buffers = true };
		struct gpu_pools *p;
		struct gpu_holding h;
		char rule[64];

		if (!driver.n)
			skip();
		snprintf(rule, sizeof(rule), "%s 0 2\n", call[i]);
		p = calloc(1, sizeof(*p));
		rules_set(rule);
		assert_int_equal(gpu_pools_start(p, &driver, SIZE), 0);
		assert_int_equal(gpu_pools_acquire(p, &want, &h), -ENOMEM);
		assert_int_equal(h.n, 0);
		assert_true(p->pool[0].given_up);
		rules_set("");
		assert_int_equal(gpu_pools_acquire(p, &want, &h), 0);
		assert_true(h.slot[0]->extra);
		gpu_pools_release(p, &h);
		gpu_pools_end(p);
		assert_null(p->pool[0].first);
		free(p);
	}
}

/* A group that does not get all gets nothing. */
static void group_is_all_or_nothing(void **state)
{
	struct gpu_want want = { .pid = 5, .gpus = 7, .buffers = true };
	struct gpu_pools *p = pools_new();
	struct gpu_holding a = hold(p, 1, 4), b = hold(p, 2, 4), h;

	(void)state;
	for (size_t i = 0; i < GPUS; i++) {
		struct gpu_holding one = hold(p, 3, 1u << i); /* all pools are full */

		gpu_pools_release(p, &one);
	}
	rules_set("cuStreamCreate 0 2\n");
	assert_int_equal(gpu_pools_acquire(p, &want, &h), -ENOMEM);
	rules_set("");
	for (size_t i = 0; i < 2; i++)
		for (const struct gpu_slot *s = p->pool[i].first; s; s = s->next)
			assert_int_equal(s->pid, 0);
	gpu_pools_release(p, &a);
	gpu_pools_release(p, &b);
	gpu_pools_end(p);
	free(p);
}

static void given_up_and_filled_again(void **state)
{
	struct gpu_want step = { .pid = 4, .gpus = 7 };
	struct gpu_pools *p = pools_new();
	struct gpu_holding a = hold(p, 1, 1), b;

	(void)state;
	gpu_pools_give_up(p);
	assert_null(p->pool[1].first);
	assert_ptr_equal(p->pool[0].first, a.slot[0]);
	assert_int_equal(gpu_pools_acquire(p, &step, &b), 0);
	assert_int_equal(b.n, 0); /* no need to take what was just given up */
	b = hold(p, 2, 1);
	assert_true(b.slot[0]->extra);
	gpu_pools_release(p, &a);
	gpu_pools_release(p, &b);
	assert_null(p->pool[0].first);
	gpu_pools_refill(p, UINT64_C(1000000000000));
	assert_true(p->pool[0].given_up);
	gpu_pools_refill(p, 0);
	b = hold(p, 2, 7);
	assert_int_equal(b.n, GPUS);
	assert_false(b.slot[0]->extra || b.slot[2]->extra);
	gpu_pools_release(p, &b);
	pools_end(p);
}

/* While a step is under way nothing is made for the pool, unless somebody waits for it. */
static void steps_come_first(void **state)
{
	struct gpu_want step = { .pid = 4, .gpus = 1 };
	struct gpu_pools *p = pools_new();
	struct gpu_holding h;

	(void)state;
	gpu_pools_step(p, 1);
	assert_int_equal(gpu_pools_acquire(p, &step, &h), 0);
	assert_int_equal(h.n, 0);
	usleep(600000);
	assert_null(p->pool[0].first);
	h = hold(p, 5, 1);
	assert_false(h.slot[0]->extra);
	gpu_pools_release(p, &h);
	gpu_pools_step(p, -1);
	filled_wait(p);
	assert_non_null(p->pool[2].first);
	pools_end(p);
}

static void *group(void *arg)
{
	static pid_t next = 100;
	struct gpu_pools *p = arg;
	pid_t pid = __atomic_add_fetch(&next, 1, __ATOMIC_RELAXED);

	for (int i = 0; i < 200; i++) {
		struct gpu_want want = { .pid = pid, .gpus = 1 + (uint32_t)(i % 7) };
		struct gpu_holding h;

		want.buffers = i % 2;
		want.if_free = i % 3 == 0;
		if (gpu_pools_acquire(p, &want, &h) < 0)
			return arg;
		for (size_t k = 0; k < h.n; k++)
			if (h.slot[k]->pid != pid)
				return arg;
		gpu_pools_release(p, &h);
	}
	return NULL;
}

/* Eight groups over three GPUs with two slots each: nobody waits for ever, nothing is handed out twice. */
static void groups_at_once(void **state)
{
	struct gpu_pools *p = pools_new();
	pthread_t t[8];

	(void)state;
	unsetenv("STUB_CUDA_RULES");
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, group, p), 0);
	for (int i = 0; i < 8; i++) {
		void *wrong;

		pthread_join(t[i], &wrong);
		assert_null(wrong);
	}
	setenv("STUB_CUDA_RULES", rules, 1);
	pools_end(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_go_round),
		cmocka_unit_test(exhausted_makes_one_and_frees_it),
		cmocka_unit_test(if_free_goes_without),
		cmocka_unit_test(release_scrubs),
		cmocka_unit_test(slot_that_cannot_be_scrubbed_goes),
		cmocka_unit_test(failed_start_rolls_back),
		cmocka_unit_test(group_is_all_or_nothing),
		cmocka_unit_test(given_up_and_filled_again),
		cmocka_unit_test(steps_come_first),
		cmocka_unit_test(groups_at_once),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
