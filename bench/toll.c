/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `thaw run` costs a CUDA program: run it with and without, and compare.
 *
 *   toll [MIB...]    allocates and frees blocks of these sizes (2 20 256 1024 4096), and makes calls that do nothing:
 *                    "alloc SIZE ..." for each: microseconds, minimum and median, of
 *                    cuMemAlloc and cuMemFree, in turn (each freed at once) and in a row (many held at once;
 *                    then the driver may still have to clear what was freed before, which is in its time);
 *                    "call NAME NS": nanoseconds, minimum and median; under `thaw run` also of the same function
 *                    past the gate, in turn with it
 *   toll --parts [MIB...]   instead: each of the driver's calls that serving such a block takes, and all of them
 *                    for blocks of several physical pieces
 *
 * The driver is opened at run time, so that nothing of CUDA's is needed to build this.
 */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long address;

struct kind { /* CUmemAllocationProp */
	int type, handles;
	int location, device;
	void *win32;
	unsigned char compression, rdma;
	unsigned short usage;
	unsigned char reserved[4];
};

struct access { /* CUmemAccessDesc */
	int location, device, flags;
};

#define CALLS(CALL) \
	CALL(cuInit, (unsigned)) \
	CALL(cuDeviceGet, (int *, int)) \
	CALL(cuDevicePrimaryCtxRetain, (void **, int)) \
	CALL(cuCtxSetCurrent, (void *)) \
	CALL(cuCtxSynchronize, (void)) \
	CALL(cuMemGetInfo_v2, (size_t *, size_t *)) \
	CALL(cuMemAlloc_v2, (address *, size_t)) \
	CALL(cuMemFree_v2, (address)) \
	CALL(cuMemAddressReserve, (address *, size_t, size_t, address, unsigned long long)) \
	CALL(cuMemAddressFree, (address, size_t)) \
	CALL(cuMemCreate, (address *, size_t, const struct kind *, unsigned long long)) \
	CALL(cuMemRelease, (address)) \
	CALL(cuMemMap, (address, size_t, size_t, address, unsigned long long)) \
	CALL(cuMemUnmap, (address, size_t)) \
	CALL(cuMemSetAccess, (address, size_t, const struct access *, size_t))

static struct {
#define FIELD(name, args) int(*name) args;
	CALLS(FIELD)
} cu;

enum { TIMES = 40, ROW = 12, PARTS = 7 };

static void must(int r, const char *what)
{
	if (!r)
		return;
	printf("toll: %s: CUDA error %d\n", what, r);
	exit(1);
}
#define MUST(call) must(call, #call)

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

struct sample {
	double us[TIMES];
	size_t n;
};

static void note(struct sample *s, double from)
{
	s->us[s->n++ % TIMES] = now_us() - from;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void say(const char *what, struct sample *s)
{
	size_t n = s->n < TIMES ? s->n : TIMES;

	qsort(s->us, n, sizeof(s->us[0]), by_size);
	printf(" %s %.1f %.1f", what, s->us[0], s->us[n / 2]);
}

/* Until the driver has cleared what was freed, which it does when nobody waits. */
static void rest(size_t len)
{
	usleep((useconds_t)(2000 + len / 200000));
}

static void in_turn(size_t len)
{
	struct sample alloc = { .n = 0 }, freed = { .n = 0 };

	for (size_t i = 0; i < TIMES / 2; i++) {
		address at;
		double t;

		rest(len);
		t = now_us();
		MUST(cu.cuMemAlloc_v2(&at, len));
		note(&alloc, t);
		t = now_us();
		MUST(cu.cuMemFree_v2(at));
		note(&freed, t);
	}
	say("alloc", &alloc);
	say("free", &freed);
}

/* How many of these may be held at once. */
static size_t row_of(size_t len)
{
	size_t left = 0, total, n;

	MUST(cu.cuMemGetInfo_v2(&left, &total));
	n = left / 2 / len;
	return n < 1 ? 1 : n < ROW ? n : ROW;
}

static void in_a_row(size_t len)
{
	struct sample alloc = { .n = 0 }, freed = { .n = 0 };
	size_t n = row_of(len);
	address at[ROW];

	for (size_t k = 0; k < TIMES / n; k++) {
		for (size_t i = 0; i < n; i++) {
			double t = now_us();

			MUST(cu.cuMemAlloc_v2(&at[i], len));
			note(&alloc, t);
		}
		for (size_t i = 0; i < n; i++) {
			double t = now_us();

			MUST(cu.cuMemFree_v2(at[i]));
			note(&freed, t);
		}
	}
	say("alloc", &alloc);
	say("free", &freed);
}

static void blocks(size_t mib)
{
	printf("alloc %zu MiB: in turn", mib);
	in_turn(mib << 20);
	printf("; in a row");
	in_a_row(mib << 20);
	printf(" us\n");
}

/* --- calls that do nothing ------------------------------------------------------------------------ */

static void *mine, *lib;
static address word;

static void call_current(void *fn)
{
	((int (*)(void **))fn)(&mine);
}

static void call_settled(void *fn)
{
	((int (*)(void *))fn)(NULL);
}

static void call_memset(void *fn)
{
	((int (*)(address, unsigned char, size_t, void *))fn)(word, 0, 4, NULL);
}

/* Where a function of the driver lies as its file says, which nobody has edited; NULL: not found. */
static void *past_gate(const char *name)
{
	struct link_map *map;
	const Elf64_Shdr *sh;
	const Elf64_Ehdr *eh;
	void *found = NULL;
	struct stat st;
	int fd;

	if (dlinfo(lib, RTLD_DI_LINKMAP, &map) || (fd = open(map->l_name, O_RDONLY)) < 0 || fstat(fd, &st))
		return NULL;
	eh = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (eh == MAP_FAILED)
		return NULL;
	sh = (const Elf64_Shdr *)((const char *)eh + eh->e_shoff);
	for (size_t i = 0; i < eh->e_shnum; i++) {
		const Elf64_Sym *sym = (const Elf64_Sym *)((const char *)eh + sh[i].sh_offset);
		const char *text = (const char *)eh + (sh[i].sh_type == SHT_DYNSYM ? sh[sh[i].sh_link].sh_offset : 0);

		for (size_t k = 0; sh[i].sh_type == SHT_DYNSYM && k < sh[i].sh_size / sizeof(*sym); k++)
			if (sym[k].st_value && !strcmp(text + sym[k].st_name, name))
				found = (char *)map->l_addr + sym[k].st_value;
	}
	munmap((void *)eh, (size_t)st.st_size);
	return found;
}

static void round_of(struct sample *s, void (*call)(void *fn), void *fn, size_t n)
{
	double t = now_us();

	for (size_t i = 0; i < n; i++)
		call(fn);
	s->us[s->n++ % TIMES] = (now_us() - t) * 1e3 / (double)n;
	MUST(cu.cuCtxSynchronize());
}

static void calls(const char *name, void (*call)(void *fn), size_t n)
{
	struct sample with = { .n = 0 }, without = { .n = 0 };
	void *fn = dlsym(lib, name), *real = past_gate(name);

	for (size_t k = 0; k < TIMES; k++) {
		round_of(&with, call, fn, n);
		if (real && real != fn)
			round_of(&without, call, real, n);
	}
	printf("call");
	say(name, &with);
	printf(" ns");
	if (without.n) {
		say(", past the gate", &without);
		printf(" ns");
	}
	printf("\n");
}

/* --- the driver's calls one by one ---------------------------------------------------------------- */

static void part(const struct kind *kind, size_t len, address at, struct sample s[PARTS])
{
	struct access access = { 1, 0, 3 };
	double t = now_us();
	address handle;

	MUST(cu.cuMemCreate(&handle, len, kind, 0));
	note(&s[1], t);
	t = now_us();
	MUST(cu.cuMemMap(at, len, 0, handle, 0));
	note(&s[2], t);
	t = now_us();
	MUST(cu.cuMemSetAccess(at, len, &access, 1));
	note(&s[3], t);
	t = now_us();
	MUST(cu.cuMemUnmap(at, len));
	note(&s[4], t);
	t = now_us();
	MUST(cu.cuMemRelease(handle));
	note(&s[5], t);
}

/* once: all in one reservation; else one for each block. */
static void parts(size_t mib, int handles, int rdma, int once)
{
	static const char *const name[PARTS] = { "reserve", "create", "map", "access", "unmap", "release", "unreserve" };
	struct kind kind = { .type = 1, .handles = handles, .location = 1, .rdma = (unsigned char)rdma };
	struct sample s[PARTS] = { 0 };
	size_t len = mib << 20, room = once ? 8 * len : len;
	address at = 0;

	for (size_t i = 0; i < TIMES; i++) {
		double t;

		rest(len);
		t = now_us();
		if (!once || !i) {
			MUST(cu.cuMemAddressReserve(&at, room, 2 << 20, 0, 0));
			note(&s[0], t);
		}
		part(&kind, len, at + (once ? i % 8 * len : 0), s);
		t = now_us();
		if (!once || i == TIMES - 1) {
			MUST(cu.cuMemAddressFree(at, room));
			note(&s[6], t);
		}
	}
	printf("parts %zu MiB, handles %d, rdma %d, %s:", mib, handles, rdma, once ? "reserved once" : "each reserved");
	for (size_t i = 0; i < PARTS; i++)
		say(name[i], &s[i]);
	printf(" us\n");
}

/* One block of n pieces, to which access is given at once. */
static void block_make(size_t len, size_t n, address at, address *piece)
{
	struct kind kind = { .type = 1, .handles = 1, .location = 1 };
	struct access access = { 1, 0, 3 };

	for (size_t i = 0; i < n; i++) {
		MUST(cu.cuMemCreate(&piece[i], len / n, &kind, 0));
		MUST(cu.cuMemMap(at + i * (len / n), len / n, 0, piece[i], 0));
	}
	MUST(cu.cuMemSetAccess(at, len, &access, 1));
}

static void in_pieces(size_t mib, size_t n)
{
	struct sample make = { .n = 0 }, freed = { .n = 0 };
	size_t len = mib << 20;
	address at, piece[16];

	MUST(cu.cuMemAddressReserve(&at, len, 2 << 20, 0, 0));
	for (size_t i = 0; i < TIMES / 2; i++) {
		double t;

		rest(len);
		t = now_us();
		block_make(len, n, at, piece);
		note(&make, t);
		t = now_us();
		MUST(cu.cuMemUnmap(at, len));
		for (size_t k = 0; k < n; k++)
			MUST(cu.cuMemRelease(piece[k]));
		note(&freed, t);
	}
	MUST(cu.cuMemAddressFree(at, len));
	printf("parts %zu MiB in %zu pieces:", mib, n);
	say("alloc", &make);
	say("free", &freed);
	printf(" us\n");
}

static void every_kind(size_t mib)
{
	for (int handles = 0; handles < 2; handles++)
		for (int rdma = 0; rdma < 2; rdma++)
			parts(mib, handles, rdma, 1);
	parts(mib, 1, 1, 0);
	for (size_t n = 1; n <= 16 && mib / n >= 2; n *= 2)
		in_pieces(mib, n);
}

static void start(void)
{
	void *ctx;
	int device;

	lib = dlopen("libcuda.so.1", RTLD_NOW);
	if (!lib) {
		printf("toll: %s\n", dlerror());
		exit(1);
	}
#define FIND(name, args) \
	cu.name = (int(*) args)dlsym(lib, #name); \
	if (!cu.name) { \
		printf("toll: the driver has no " #name "\n"); \
		exit(1); \
	}
	CALLS(FIND)
	MUST(cu.cuInit(0));
	MUST(cu.cuDeviceGet(&device, 0));
	MUST(cu.cuDevicePrimaryCtxRetain(&ctx, device));
	MUST(cu.cuCtxSetCurrent(ctx));
}

int main(int argc, char **argv)
{
	static char *usual[] = { "2", "20", "256", "1024", "4096", NULL };
	int by_parts = argc > 1 && !strcmp(argv[1], "--parts");
	char **size = argv + 1 + by_parts;

	start();
	for (char **p = *size ? size : usual; *p; p++)
		(by_parts ? every_kind : blocks)(strtoul(*p, NULL, 10));
	if (by_parts)
		return 0;
	MUST(cu.cuMemAlloc_v2(&word, 4));
	calls("cuCtxGetCurrent", call_current, 2000);
	calls("cuStreamSynchronize", call_settled, 500);
	calls("cuMemsetD8Async", call_memset, 200);
	return 0;
}
