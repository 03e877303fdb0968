/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA program that never stops to allocate, free and copy, against a model: subject FILE [THREADS [BLOCKS]]
 *
 * Threads (3) take turns at a table of blocks (40): what is free gets memory of 1 to 50 MiB, what is there is written
 * to at some places, copied from, compared with what the model says, asked about, or freed, by whichever thread comes
 * by. The model is an array: the address and length of each block, and what was last written at each of its places.
 * FILE.steps holds how many steps were done. A dump may come at any moment. Told to end, it compares all and frees all.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "subject.h"

typedef uint64_t dev_ptr;

enum { MIB = 1 << 20, BLOCKS = 256, MARKS = 3, WORDS = 64, LONGEST = 50 };

static struct {
	int (*init)(unsigned);
	int (*device)(int *, int);
	int (*ctx_create)(void **, unsigned, int);
	int (*ctx_set)(void *);
	int (*alloc)(dev_ptr *, size_t);
	int (*drop)(dev_ptr);
	int (*range)(dev_ptr *, size_t *, dev_ptr);
	int (*put)(dev_ptr, const void *, size_t);
	int (*get)(void *, dev_ptr, size_t);
	int (*copy)(dev_ptr, dev_ptr, size_t);
	int (*info)(size_t *, size_t *);
} cu;

static struct block {
	pthread_mutex_t lock;
	dev_ptr at; /* 0: free */
	size_t len;
	uint64_t mark[MARKS]; /* what is written at the begin, in the middle, at the end; 0: nothing was */
} block[BLOCKS];
static size_t n_blocks = 40;
static void *ctx;
static atomic_int stop;
static _Atomic uint64_t *steps;

#define CU(call) do { int r_ = (call); CHECK(r_ == 0, "%s: CUDA error %d", #call, r_); } while (0)

static void calls_find(void)
{
	static const struct { const char *name; void *to; } call[] = {
		{ "cuInit", &cu.init }, { "cuDeviceGet", &cu.device }, { "cuCtxCreate_v2", &cu.ctx_create },
		{ "cuCtxSetCurrent", &cu.ctx_set }, { "cuMemAlloc_v2", &cu.alloc }, { "cuMemFree_v2", &cu.drop },
		{ "cuMemGetAddressRange_v2", &cu.range }, { "cuMemcpyHtoD_v2", &cu.put }, { "cuMemcpyDtoH_v2", &cu.get },
		{ "cuMemcpyDtoD_v2", &cu.copy }, { "cuMemGetInfo_v2", &cu.info },
	};
	void *lib = dlopen("libcuda.so.1", RTLD_NOW);

	if (!lib)
		subject_skip("no libcuda.so.1");
	for (size_t i = 0; i < sizeof(call) / sizeof(call[0]); i++) {
		*(void **)call[i].to = dlsym(lib, call[i].name);
		CHECK(*(void **)call[i].to, "libcuda.so.1 lacks %s", call[i].name);
	}
}

static uint64_t dice(uint64_t *random, uint64_t sides)
{
	*random = *random * 6364136223846793005ull + 1442695040888963407ull;
	return (*random >> 33) % sides;
}

static dev_ptr mark_at(const struct block *b, size_t k)
{
	return b->at + (b->len - WORDS * 8) / (MARKS - 1) / 8 * 8 * k;
}

static void words_of(uint64_t seed, uint64_t w[WORDS])
{
	for (size_t i = 0; i < WORDS; i++)
		w[i] = (seed + i) * 0x9e3779b97f4a7c15ull;
}

static void mark_check(const struct block *b, size_t k)
{
	uint64_t is[WORDS], want[WORDS];

	if (!b->mark[k])
		return;
	words_of(b->mark[k], want);
	CU(cu.get(is, mark_at(b, k), sizeof(is)));
	for (size_t i = 0; i < WORDS; i++)
		CHECK(is[i] == want[i], "block of %zu bytes at %#lx, mark %zu, word %zu: %#lx instead of %#lx", b->len, b->at, k,
		      i, is[i], want[i]);
}

/* No other block is where this one is. */
static void place_check(const struct block *b)
{
	for (const struct block *o = block; o < block + n_blocks; o++) {
		dev_ptr at = __atomic_load_n(&o->at, __ATOMIC_RELAXED);

		CHECK(o == b || at != b->at, "two blocks at %#lx", at);
	}
}

static void block_take(struct block *b, uint64_t *random)
{
	size_t len = dice(random, 8) ? (2 + dice(random, 19)) * MIB : (1 + dice(random, LONGEST)) * MIB;
	dev_ptr at;

	len -= dice(random, 2) * dice(random, 4096) * 8;
	CU(cu.alloc(&at, len));
	for (size_t k = 0; k < MARKS; k++)
		b->mark[k] = 0;
	b->len = len;
	__atomic_store_n(&b->at, at, __ATOMIC_RELAXED);
	place_check(b);
}

static void block_drop(struct block *b)
{
	dev_ptr at = b->at;

	for (size_t k = 0; k < MARKS; k++)
		mark_check(b, k);
	__atomic_store_n(&b->at, 0, __ATOMIC_RELAXED);
	CU(cu.drop(at));
}

static void block_write(struct block *b, uint64_t *random)
{
	size_t k = dice(random, MARKS);
	uint64_t w[WORDS];

	b->mark[k] = 1 + dice(random, 1u << 30);
	words_of(b->mark[k], w);
	CU(cu.put(mark_at(b, k), w, sizeof(w)));
}

/* From another block, unless somebody has it. */
static void block_copy(struct block *b, uint64_t *random)
{
	struct block *from = &block[dice(random, n_blocks)];
	size_t k = dice(random, MARKS), to = dice(random, MARKS);

	if (from == b || pthread_mutex_trylock(&from->lock))
		return;
	if (from->at && from->mark[k]) {
		CU(cu.copy(mark_at(b, to), mark_at(from, k), WORDS * 8));
		b->mark[to] = from->mark[k];
	}
	pthread_mutex_unlock(&from->lock);
}

static void block_ask(const struct block *b, uint64_t *random)
{
	dev_ptr at = 0;
	size_t len = 0, left = 0, total = 0;

	CU(cu.range(&at, &len, b->at + dice(random, b->len)));
	/* a driver may say what it has rounded the length to */
	CHECK(at == b->at && len >= b->len && len - b->len < 2 * MIB, "%#lx of %zu bytes is said to be %#lx of %zu", b->at, b->len, at, len);
	CU(cu.info(&left, &total));
	CHECK(left <= total, "%zu bytes are free of %zu", left, total);
}

static void step(struct block *b, uint64_t *random)
{
	uint64_t what = dice(random, 8);

	if (!b->at)
		block_take(b, random);
	else if (what < 3)
		block_write(b, random);
	else if (what < 4)
		block_copy(b, random);
	else if (what < 5)
		mark_check(b, dice(random, MARKS));
	else if (what < 6)
		block_ask(b, random);
	else
		block_drop(b);
}

static void *worker(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg;

	CU(cu.ctx_set(ctx));
	while (!stop) {
		struct block *b = &block[dice(&random, n_blocks)];

		if (pthread_mutex_trylock(&b->lock))
			continue;
		step(b, &random);
		pthread_mutex_unlock(&b->lock);
		(*steps)++;
	}
	return NULL;
}

/* The count lies in a file, which goes on being right whoever looks at it. */
static void steps_open(const char *name)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s.steps", name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0 && !ftruncate(fd, sizeof(*steps)), "%s", path);
	steps = mmap(NULL, sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(steps != MAP_FAILED, "mmap");
	close(fd);
}

int main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 3;
	pthread_t t[16];
	int device;

	n_blocks = argc > 3 ? strtoul(argv[3], NULL, 10) : n_blocks;
	CHECK(argc > 1 && n <= 16 && n_blocks <= BLOCKS, "subject FILE [THREADS [BLOCKS]]");
	calls_find();
	steps_open(argv[1]);
	CU(cu.init(0));
	CU(cu.device(&device, 0));
	CU(cu.ctx_create(&ctx, 0, device));
	for (size_t i = 0; i < n_blocks; i++)
		pthread_mutex_init(&block[i].lock, NULL);
	for (size_t i = 0; i < n; i++)
		CHECK(!pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)(i + 1)), "thread");

	subject_ready();

	stop = 1;
	for (size_t i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	CU(cu.ctx_set(ctx));
	for (struct block *b = block; b < block + n_blocks; b++)
		if (b->at)
			block_drop(b);
	return 0;
}
