/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA program that knows every word of its GPU memory: subject FILE [MIB [ALLOCATIONS [GPU,... [HOW]]]]
 *
 * It fills MIB (16) MiB in ALLOCATIONS (4) pieces with a kernel, in turn on the GPUs named (0), is ready
 * (subject.h), and when it is told verifies all words with a kernel. HOW busy: a second thread launches kernels on a
 * piece of its own the whole time. fork: a child that lives as long inherits everything and uses none of it. managed:
 * has unified memory, too. import: has what shows an event that was imported from process 1. rank: looks like rank 0 of
 * an NCCL job. The driver is found with dlopen() and the kernels are text, so this builds and runs with the stub, and
 * with a real GPU without nvcc.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

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
	int (*managed)(dev_ptr *, size_t, unsigned);
	int (*set)(dev_ptr, unsigned char, size_t);
	int (*get)(void *, dev_ptr, size_t);
	int (*module)(void **, const void *);
	int (*function)(void **, void *, const char *);
	int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **,
		      void **);
} cu;

static struct gpu {
	void *ctx, *fill, *verify;
	dev_ptr wrong;
} gpu[32];
static size_t n_gpus;
static dev_ptr piece[4096];
static volatile int stop;

static void calls_find(void)
{
	static const struct { const char *name; void *to; } call[] = {
		{ "cuInit", &cu.init }, { "cuDeviceGet", &cu.device }, { "cuCtxCreate_v2", &cu.ctx_create },
		{ "cuCtxSetCurrent", &cu.ctx_set }, { "cuCtxSynchronize", &cu.ctx_sync }, { "cuMemAlloc_v2", &cu.alloc },
		{ "cuMemAllocManaged", &cu.managed },
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

static void gpu_open(struct gpu *g, int number)
{
	void *module;
	int device;

	CU(cu.device(&device, number));
	CU(cu.ctx_create(&g->ctx, 0, device));
	CU(cu.module(&module, ptx));
	CU(cu.function(&g->fill, module, "fill"));
	CU(cu.function(&g->verify, module, "verify"));
	CU(cu.alloc(&g->wrong, 8));
	CU(cu.set(g->wrong, 0, 8));
}

/* Of the GPU whose context is current. */
static void kernel(const struct gpu *g, void *f, dev_ptr at, uint64_t words, uint64_t seed)
{
	dev_ptr wrong = g->wrong;
	void *arg[] = { &at, &words, &seed, &wrong };

	CU(cu.launch(f, 1024, 1, 1, 256, 1, 1, 0, NULL, arg, NULL));
}

static uint64_t wrong_count(const struct gpu *g)
{
	uint64_t n = 0;

	CU(cu.ctx_sync());
	CU(cu.get(&n, g->wrong, sizeof(n)));
	return n;
}

static void *busy(void *arg)
{
	const struct gpu *g = arg;
	const uint64_t words = 1 << 17;
	uint64_t seed = 7;
	dev_ptr at;

	CU(cu.ctx_set(g->ctx));
	CU(cu.alloc(&at, words * 8));
	while (!stop) {
		kernel(g, g->fill, at, words, ++seed);
		kernel(g, g->verify, at, words, seed);
		CU(cu.ctx_sync());
	}
	return NULL;
}

static void heir(void)
{
	pid_t parent = getpid(), pid = fork();

	CHECK(pid >= 0, "fork");
	while (!pid && getppid() == parent)
		usleep(10000);
	if (!pid)
		_exit(0);
}

static void imported_event(void)
{
	int fd = open("/dev/shm/cuda.shm.0.1.1", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0 && !ftruncate(fd, 4096), "/dev/shm");
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED, "mmap");
	close(fd);
}

static void rank_of_nccl(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "\0tmp/nccl-socket-0-1f" };
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), fd = open("libnccl.so.2", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(s >= 0 && !bind(s, (struct sockaddr *)&sa, sizeof(sa)), "bind");
	CHECK(fd >= 0 && !ftruncate(fd, 4096), "libnccl.so.2");
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED, "mmap");
	close(fd);
}

static void other_things(const char *how)
{
	dev_ptr at;

	if (!strcmp(how, "fork"))
		heir();
	if (!strcmp(how, "managed"))
		CU(cu.managed(&at, 2 << 20, 1));
	if (!strcmp(how, "import"))
		imported_event();
	if (!strcmp(how, "rank"))
		rank_of_nccl();
}

int main(int argc, char **argv)
{
	size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 16, n = argc > 3 ? strtoul(argv[3], NULL, 10) : 4;
	uint64_t words = (mib << 20) / n / 8;
	const char *more = argc > 5 ? argv[5] : "", *at = argc > 4 ? argv[4] : "0";
	pthread_t t;
	char *end;

	calls_find();
	CU(cu.init(0));
	for (; *at; at = *end ? end + 1 : end)
		gpu_open(&gpu[n_gpus++], (int)strtol(at, &end, 10));
	for (size_t i = 0; i < n; i++) {
		const struct gpu *g = &gpu[i % n_gpus];

		CU(cu.ctx_set(g->ctx));
		CU(cu.alloc(&piece[i], words * 8));
		kernel(g, g->fill, piece[i], words, i * 1000003);
		CU(cu.ctx_sync());
	}
	if (!strcmp(more, "busy"))
		CHECK(!pthread_create(&t, NULL, busy, &gpu[0]), "thread");
	other_things(more);

	subject_ready();

	for (size_t i = 0; i < n; i++) {
		const struct gpu *g = &gpu[i % n_gpus];

		CU(cu.ctx_set(g->ctx));
		kernel(g, g->verify, piece[i], words, i * 1000003);
		CHECK(wrong_count(g) == 0, "%llu words of piece %zu are wrong", (unsigned long long)wrong_count(g), i);
	}
	if (!strcmp(more, "busy")) {
		stop = 1;
		pthread_join(t, NULL);
		CU(cu.ctx_set(gpu[0].ctx));
		CHECK(wrong_count(&gpu[0]) == 0, "words of the busy thread are wrong");
	}
	return 0;
}
