/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA program that looks at what it gets under `thaw run`, by every way there is to get hold of an entry point.
 * Linked with the driver, so that there are bindings older than the preloaded library's start. Says "fine" or what is not.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t dev_ptr;

int cuInit(unsigned flags);
int cuDeviceGet(int *dev, int i);
int cuDevicePrimaryCtxRetain(void **ctx, int dev);
int cuDevicePrimaryCtxRelease_v2(int dev);
int cuCtxSetCurrent(void *ctx);
int cuCtxGetCurrent(void **ctx);
int cuMemAlloc_v2(dev_ptr *ret, size_t len);
int cuMemFree_v2(dev_ptr at);
int cuMemGetInfo_v2(size_t *left, size_t *total);
int cuMemGetAddressRange_v2(dev_ptr *at, size_t *len, dev_ptr in);
int cuPointerGetAttribute(void *ret, int attribute, dev_ptr in);
int cuMemsetD8_v2(dev_ptr at, unsigned char value, size_t len);
int cuMemcpyDtoH_v2(void *to, dev_ptr from, size_t len);
int cuGetProcAddress_v2(const char *name, void **call, int version, uint64_t flags, int *found);

#define MIB ((size_t)1 << 20)
#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			printf("line %d: %s\n", __LINE__, #cond); \
			exit(1); \
		} \
	} while (0)
#define CU(call) CHECK((call) == 0)

/* Bound when the program was loaded, in data. */
static int (*const old_alloc)(dev_ptr *, size_t) = cuMemAlloc_v2;
static void *ctx;
static size_t before; /* what the context itself takes: nothing with the stub */

static size_t in_use(void)
{
	size_t left, total;

	CU(cuMemGetInfo_v2(&left, &total));
	return total - left;
}

/* A real driver has small things in blocks of its own, which it may keep. */
static bool is_used(size_t least, size_t most)
{
	size_t now = in_use(), own = before ? 4 * MIB : 0;

	return now + own >= before + least && now <= before + most + own;
}

static void is_block(dev_ptr at, size_t len)
{
	dev_ptr begin = 0, start = 0;
	unsigned char byte = 0;
	void *owner = NULL;
	size_t is = 0;

	CU(cuMemGetAddressRange_v2(&begin, &is, at + len / 2));
	CHECK(begin == at && is == len);
	CU(cuPointerGetAttribute(&start, 11, at + len - 1));
	CHECK(start == at);
	CU(cuPointerGetAttribute(&owner, 1, at));
	CHECK(owner == ctx);
	CU(cuMemsetD8_v2(at, 0x5a, len));
	CU(cuMemcpyDtoH_v2(&byte, at + len - 1, 1));
	CHECK(byte == 0x5a);
}

static void ways(void)
{
	void *lib = dlopen("libcuda.so.1", RTLD_NOW), *found;
	dev_ptr a[4];

	CHECK(dlsym(lib, "cuMemAlloc_v2") == (void *)old_alloc);
	CU(cuGetProcAddress_v2("cuMemAlloc", &found, 12000, 0, NULL));
	CHECK(found == (void *)old_alloc);
	CU(cuMemAlloc_v2(&a[0], 3 * MIB));
	CU(old_alloc(&a[1], 20 * MIB + 5));
	CU(((int (*)(dev_ptr *, size_t))found)(&a[2], 100 * MIB));
	CU(cuMemAlloc_v2(&a[3], 4096));
	CHECK(a[0] % (2 * MIB) == 0 && a[1] % (2 * MIB) == 0 && a[2] % (2 * MIB) == 0);
	is_block(a[0], 3 * MIB);
	is_block(a[1], 20 * MIB + 5);
	is_block(a[2], 100 * MIB);
	CHECK(is_used(126 * MIB, 127 * MIB));
	for (int i = 0; i < 4; i++)
		CU(cuMemFree_v2(a[i]));
	CHECK(cuMemFree_v2(a[2]) != 0); /* twice */
	CHECK(is_used(0, 0));
}

/* Too much is refused as the driver does, and nothing is lost by it. */
static void limits(void)
{
	size_t left, total;
	dev_ptr a, b;

	CU(cuMemGetInfo_v2(&left, &total));
	CHECK(cuMemAlloc_v2(&a, total + 2 * MIB) == 2);
	CU(cuMemAlloc_v2(&a, left - 8 * MIB));
	CU(cuMemAlloc_v2(&b, 4 * MIB)); /* less than a whole shared piece is left */
	is_block(b, 4 * MIB);
	CU(cuMemFree_v2(b));
	CU(cuMemFree_v2(a));
	CHECK(cuMemFree_v2(0) == cuMemFree_v2(0));
}

static void *churn(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	dev_ptr at[8] = { 0 };
	unsigned char byte;

	CU(cuCtxSetCurrent(ctx));
	for (int i = 0; i < 2000; i++) {
		size_t k = (size_t)rand_r(&seed) % 8, len = (2 + (size_t)rand_r(&seed) % 30) * MIB;

		if (at[k]) {
			CU(cuMemcpyDtoH_v2(&byte, at[k], 1));
			CHECK(byte == (unsigned char)(k + (uintptr_t)arg));
			CU(cuMemFree_v2(at[k]));
			at[k] = 0;
		} else {
			CU(cuMemAlloc_v2(&at[k], len));
			CU(cuMemsetD8_v2(at[k], (unsigned char)(k + (uintptr_t)arg), 4096));
		}
	}
	for (size_t k = 0; k < 8; k++)
		CU(at[k] ? cuMemFree_v2(at[k]) : 0);
	return NULL;
}

static void threads(void)
{
	pthread_t t[4];

	for (uintptr_t i = 0; i < 4; i++)
		CHECK(!pthread_create(&t[i], NULL, churn, (void *)(16 * i + 1)));
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CHECK(is_used(0, 0));
}

/* A child of fork() has no CUDA; it must still be able to live and to end. */
static void children(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		void *c;

		cuCtxGetCurrent(&c);
		_exit(7);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* The context takes its memory along. */
static void context_ends(void)
{
	dev_ptr a;

	CU(cuMemAlloc_v2(&a, 50 * MIB));
	CHECK(is_used(50 * MIB, 50 * MIB));
	CU(cuDevicePrimaryCtxRelease_v2(0));
	CU(cuDevicePrimaryCtxRetain(&ctx, 0));
	CHECK(is_used(0, 0));
}

int main(void)
{
	int dev;

	CU(cuInit(0));
	CU(cuDeviceGet(&dev, 0));
	CU(cuDevicePrimaryCtxRetain(&ctx, dev));
	CU(cuCtxSetCurrent(ctx));
	before = in_use();
	ways();
	limits();
	threads();
	children();
	context_ends();
	puts("fine");
	return 0;
}
