/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA program that knows every word of its GPU memory: subject STATE-FILE [MIB [ALLOCATIONS [GPU [busy]]]]
 *
 * It fills MIB (16) MiB in ALLOCATIONS (4) pieces with a kernel, is ready (subject.h), and when it is told verifies all
 * words with a kernel. busy: a second thread launches kernels on a piece of its own the whole time. The driver is found
 * with dlopen() and the kernels are text, so this builds and runs with the stub, and with a real GPU without nvcc.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>

#include "subject.h"

typedef uint64_t dev_ptr;

/* p[i] = (i + seed) * 0x9e3779b97f4a7c15 over all n words; verify counts those that differ in *wrong. */
static const char ptx[] =
	".version 7.0\n.target sm_60\n.address_size 64\n"
	".visible .entry fill(.param .u64 p, .param .u64 n, .param .u64 seed)\n{\n"
	"	.reg .pred %q;\n	.reg .b32 %a, %b, %c;\n	.reg .b64 %p, %n, %s, %i, %step, %w, %at;\n"
	"	ld.param.u64 %p, [p];\n	ld.param.u64 %n, [n];\n	ld.param.u64 %s, [seed];\n"
	"	cvta.to.global.u64 %p, %p;\n"
	"	mov.u32 %a, %ctaid.x;\n	mov.u32 %b, %ntid.x;\n	mov.u32 %c, %tid.x;\n"
	"	mul.wide.u32 %i, %a, %b;\n	cvt.u64.u32 %w, %c;\n	add.s64 %i, %i, %w;\n"
	"	mov.u32 %a, %nctaid.x;\n	mul.wide.u32 %step, %a, %b;\n"
	"again:\n	setp.ge.u64 %q, %i, %n;\n	@%q bra done;\n"
	"	add.s64 %w, %i, %s;\n	mul.lo.s64 %w, %w, -7046029254386353131;\n"
	"	shl.b64 %at, %i, 3;\n	add.s64 %at, %at, %p;\n	st.global.u64 [%at], %w;\n"
	"	add.s64 %i, %i, %step;\n	bra again;\n"
	"done:\n	ret;\n}\n"
	".visible .entry verify(.param .u64 p, .param .u64 n, .param .u64 seed, .param .u64 wrong)\n{\n"
	"	.reg .pred %q;\n	.reg .b32 %a, %b, %c;\n	.reg .b64 %p, %n, %s, %e, %i, %step, %w, %at, %v;\n"
	"	ld.param.u64 %p, [p];\n	ld.param.u64 %n, [n];\n	ld.param.u64 %s, [seed];\n	ld.param.u64 %e, [wrong];\n"
	"	cvta.to.global.u64 %p, %p;\n	cvta.to.global.u64 %e, %e;\n"
	"	mov.u32 %a, %ctaid.x;\n	mov.u32 %b, %ntid.x;\n	mov.u32 %c, %tid.x;\n"
	"	mul.wide.u32 %i, %a, %b;\n	cvt.u64.u32 %w, %c;\n	add.s64 %i, %i, %w;\n"
	"	mov.u32 %a, %nctaid.x;\n	mul.wide.u32 %step, %a, %b;\n"
	"again:\n	setp.ge.u64 %q, %i, %n;\n	@%q bra done;\n"
	"	add.s64 %w, %i, %s;\n	mul.lo.s64 %w, %w, -7046029254386353131;\n"
	"	shl.b64 %at, %i, 3;\n	add.s64 %at, %at, %p;\n	ld.global.u64 %v, [%at];\n"
	"	add.s64 %i, %i, %step;\n	setp.eq.s64 %q, %v, %w;\n	@%q bra again;\n"
	"	atom.global.add.u64 %w, [%e], 1;\n	bra again;\n"
	"done:\n	ret;\n}\n";

static struct {
	int (*init)(unsigned);
	int (*device)(int *, int);
	int (*ctx_create)(void **, unsigned, int);
	int (*ctx_set)(void *);
	int (*ctx_sync)(void);
	int (*alloc)(dev_ptr *, size_t);
	int (*set)(dev_ptr, unsigned char, size_t);
	int (*get)(void *, dev_ptr, size_t);
	int (*module)(void **, const void *);
	int (*function)(void **, void *, const char *);
	int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **,
		      void **);
} cu;

static void *ctx, *fill, *verify;
static dev_ptr piece[4096], wrong;
static volatile int stop;

static void calls_find(void)
{
	static const struct { const char *name; void *to; } call[] = {
		{ "cuInit", &cu.init }, { "cuDeviceGet", &cu.device }, { "cuCtxCreate_v2", &cu.ctx_create },
		{ "cuCtxSetCurrent", &cu.ctx_set }, { "cuCtxSynchronize", &cu.ctx_sync }, { "cuMemAlloc_v2", &cu.alloc },
		{ "cuMemsetD8_v2", &cu.set }, { "cuMemcpyDtoH_v2", &cu.get }, { "cuModuleLoadData", &cu.module },
		{ "cuModuleGetFunction", &cu.function }, { "cuLaunchKernel", &cu.launch },
	};
	void *lib = dlopen("libcuda.so.1", RTLD_NOW);

	if (!lib)
		subject_skip("no libcuda.so.1");
	for (size_t i = 0; i < sizeof(call) / sizeof(call[0]); i++) {
		*(void **)call[i].to = dlsym(lib, call[i].name);
		CHECK(*(void **)call[i].to, "libcuda.so.1 lacks %s", call[i].name);
	}
}

/* CHECK for the driver's results. */
#define CU(call) do { int r_ = (call); CHECK(r_ == 0, "%s: CUDA error %d", #call, r_); } while (0)

static void kernel(void *f, dev_ptr at, uint64_t words, uint64_t seed)
{
	void *arg[] = { &at, &words, &seed, &wrong };

	CU(cu.launch(f, 1024, 1, 1, 256, 1, 1, 0, NULL, arg, NULL));
}

static uint64_t wrong_count(void)
{
	uint64_t n = 0;

	CU(cu.ctx_sync());
	CU(cu.get(&n, wrong, sizeof(n)));
	return n;
}

static void *busy(void *arg)
{
	const uint64_t words = 1 << 17;
	uint64_t seed = 7;
	dev_ptr at;

	(void)arg;
	CU(cu.ctx_set(ctx));
	CU(cu.alloc(&at, words * 8));
	while (!stop) {
		kernel(fill, at, words, ++seed);
		kernel(verify, at, words, seed);
		CU(cu.ctx_sync());
	}
	return NULL;
}

int main(int argc, char **argv)
{
	size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 16, n = argc > 3 ? strtoul(argv[3], NULL, 10) : 4;
	uint64_t words = (mib << 20) / n / 8;
	void *module;
	pthread_t t;
	int device;

	calls_find();
	CU(cu.init(0));
	CU(cu.device(&device, argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0));
	CU(cu.ctx_create(&ctx, 0, device));
	CU(cu.module(&module, ptx));
	CU(cu.function(&fill, module, "fill"));
	CU(cu.function(&verify, module, "verify"));
	CU(cu.alloc(&wrong, 8));
	CU(cu.set(wrong, 0, 8));
	for (size_t i = 0; i < n; i++) {
		CU(cu.alloc(&piece[i], words * 8));
		kernel(fill, piece[i], words, i * 1000003);
	}
	CU(cu.ctx_sync());
	if (argc > 5 && !strcmp(argv[5], "busy"))
		CHECK(!pthread_create(&t, NULL, busy, NULL), "thread");

	subject_ready();

	for (size_t i = 0; i < n; i++)
		kernel(verify, piece[i], words, i * 1000003);
	CHECK(wrong_count() == 0, "%llu words are wrong", (unsigned long long)wrong_count());
	if (argc > 5) {
		stop = 1;
		pthread_join(t, NULL);
		CHECK(wrong_count() == 0, "words of the busy thread are wrong");
	}
	return 0;
}
