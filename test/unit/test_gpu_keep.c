/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept on the GPUs, on the stub driver: for which image, many users at once, and what --gpu-keep says. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "gpu/gpu_give.h"

enum { GPUS = 2, PARTS = 3, USERS = 6, ROUNDS = 40 };

static struct gpu_driver driver;
static struct gpu_keep keep;

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

static int setup(void **state)
{
	(void)state;
	if (!stub_find())
		return 0;
	setenv("STUB_CUDA_GPUS", "1,2", 1);
	setenv("STUB_CUDA_MEM", "512", 1);
	if (cuda_api_load(&driver.api) < 0 || gpu_driver_init(&driver) < 0)
		return -1;
	gpu_keep_init(&keep, &driver, -1);
	return 0;
}

/* Its thread must not run when the leaks are looked for. */
static int teardown(void **state)
{
	(void)state;
	if (driver.n)
		gpu_keep_end(&keep);
	return 0;
}

static void stub_need(void)
{
	if (!driver.n)
		skip(); /* the stub was not built */
}

/* Memory of a process: parts on both GPUs, each word as the seed says. In the stub it can be read by its address. */
struct mem {
	struct gpu_hold hold[PARTS];
	struct gpu_part part[PARTS];
};

static void mem_make(struct mem *m)
{
	memset(m, 0, sizeof(*m));
	for (size_t i = 0; i < PARTS; i++) {
		assert_int_equal(gpu_hold_make(&driver, i % GPUS, (i + 1) * GPU_PAGE, &m->hold[i]), 0);
		m->part[i] = (struct gpu_part){ .gpu = i % GPUS, .at = m->hold[i].at, .len = m->hold[i].len };
	}
}

static void mem_fill(const struct mem *m, uint64_t seed)
{
	for (size_t i = 0; i < PARTS; i++)
		for (uint64_t w = 0; w < m->part[i].len / 8; w += 512)
			((uint64_t *)m->part[i].at)[w] = seed + i * 1000 + w;
}

static uint64_t mem_wrong(const struct mem *m, uint64_t seed)
{
	uint64_t wrong = 0;

	for (size_t i = 0; i < PARTS; i++)
		for (uint64_t w = 0; w < m->part[i].len / 8; w += 512)
			wrong += ((uint64_t *)m->part[i].at)[w] != seed + i * 1000 + w;
	return wrong;
}

static void mem_free(struct mem *m)
{
	for (size_t i = 0; i < PARTS; i++)
		gpu_hold_free(&m->hold[i]);
}

static const struct gpu_wish wish = { .seconds = 100 };
static const struct gpu_image image = { .dev = 1, .ino = 2, .len = 6 * GPU_PAGE };

static void *user(void *arg)
{
	uint64_t *wrong = arg;
	struct mem m;

	mem_make(&m);
	for (int i = 0; i < ROUNDS; i++) {
		int r = gpu_keep_use(&keep, &image, m.part, PARTS, &wish);

		if (r == 1) {
			*wrong += mem_wrong(&m, 7);
			mem_fill(&m, (uint64_t)i); /* its own: what is kept stays as it was */
		} else if (r == 0) {
			mem_fill(&m, 7);
			*wrong += gpu_keep_add(&keep, &image, "image", m.part, PARTS, &wish) < 0;
		}
	}
	mem_free(&m);
	return NULL;
}

/* Replicas come and go at once, and all that is kept is given up again and again meanwhile. */
static void test_replicas(void **state)
{
	uint64_t wrong[USERS] = { 0 };
	pthread_t thread[USERS];

	(void)state;
	stub_need();
	for (size_t i = 0; i < USERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, user, &wrong[i]), 0);
	for (int i = 0; i < ROUNDS; i++) {
		usleep(2000);
		gpu_give_all(&keep);
	}
	for (size_t i = 0; i < USERS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(wrong[i], 0);
	}
	gpu_give_all(&keep);
	assert_false(gpu_keep_any(&keep));
}

/* Only the very same file and pieces. */
static void test_other(void **state)
{
	struct gpu_image other = image;
	struct mem m;

	(void)state;
	stub_need();
	mem_make(&m);
	mem_fill(&m, 3);
	assert_int_equal(gpu_keep_add(&keep, &image, "image", m.part, PARTS, &wish), 0);
	assert_int_equal(gpu_keep_use(&keep, &image, m.part, PARTS - 1, &wish), 0);
	m.part[0].gpu = 1;
	assert_int_equal(gpu_keep_use(&keep, &image, m.part, PARTS, &wish), 0);
	m.part[0].gpu = 0;
	other.ino++;
	assert_int_equal(gpu_keep_use(&keep, &other, m.part, PARTS, &wish), 0);
	assert_int_equal(gpu_keep_use(&keep, &image, m.part, PARTS, &wish), 1);
	other = image;
	other.changed.tv_nsec++;
	assert_int_equal(gpu_keep_use(&keep, &other, m.part, PARTS, &wish), 0);
	assert_false(gpu_keep_any(&keep)); /* changed: what was kept of it has gone */
	mem_free(&m);
}

/* A descriptor is an image's only if it proves that it may be read. */
static void test_image(void **state)
{
	char path[] = "/tmp/gpu-image-XXXXXX", proc[40];
	struct gpu_image first, second;
	int fd = mkstemp(path), bad;

	(void)state;
	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(gpu_image_of(fd, &first), 0);
	assert_int_equal(gpu_image_of(fd, &second), 0);
	assert_true(gpu_image_same(&first, &second));
	assert_int_equal(pwrite(fd, "h", 1, 0), 1);
	assert_int_equal(gpu_image_of(fd, &second), 0);
	assert_false(gpu_image_same(&first, &second));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	bad = open(proc, O_PATH | O_CLOEXEC);
	assert_int_equal(gpu_image_of(bad, &second), -EPERM);
	close(bad);
	bad = open(proc, O_WRONLY | O_CLOEXEC);
	assert_int_equal(gpu_image_of(bad, &second), -EPERM);
	close(bad);
	close(fd);
	unlink(path);
}

static void test_wish(void **state)
{
	static const struct { const char *text; uint64_t bytes; uint32_t seconds; } good[] = {
		{ "16G", UINT64_C(16) << 30, 600 }, { "1m,5", 1 << 20, 5 }, { ",60", 0, 60 }, { "4096,1000000", 4096, 1000000 },
	};
	static const char *const bad[] = { "", "x", "0", "1G,", "1G,0", "1G,1x", "1G,1000001", "1GB", "-1", "99999999999999999999", "9999999999G" };
	struct opt_list list = { .any = true };
	struct gpu_wish w;

	(void)state;
	assert_int_equal(gpu_wish_parse(&(struct opt_list){ 0 }, &w), 0);
	assert_int_equal(w.seconds, 0);
	assert_int_equal(gpu_wish_parse(&list, &w), 0);
	assert_int_equal(w.seconds, 600);
	assert_int_equal(w.bytes, 0);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		const char *item[] = { "1,1", good[i].text };

		list = (struct opt_list){ .item = item, .n = 2 };
		assert_int_equal(gpu_wish_parse(&list, &w), 0);
		assert_true(w.bytes == good[i].bytes && w.seconds == good[i].seconds);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *item[] = { bad[i] };

		list = (struct opt_list){ .item = item, .n = 1 };
		assert_int_equal(gpu_wish_parse(&list, &w), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replicas),
		cmocka_unit_test(test_other),
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_wish),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
