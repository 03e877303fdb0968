/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs as the environment says, and contexts (stub.h). */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stub.h"

static _Thread_local struct ctx *current[16];
static _Thread_local int depth;

void gpus_read(int *n, int number[GPUS])
{
	const char *p = getenv("STUB_CUDA_GPUS");
	char *end;

	*n = 0;
	for (p = p ? p : "1"; *n < GPUS && *p; p = *end ? end + 1 : end)
		number[(*n)++] = (int)strtol(p, &end, 10);
}

void uuid_of(int number, uint8_t uuid[16])
{
	memset(uuid, 0x5b, 16);
	uuid[14] = (uint8_t)(number >> 8);
	uuid[15] = (uint8_t)number;
}

static void dev_open(int i, const char *name, void *at)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	stub.dev_map[i] = fd < 0 ? MAP_FAILED : mmap(at, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	stub.dev_fd[i] = fd >= 0 ? fd : memfd_create(path, MFD_CLOEXEC);
}

static void dev_close(int i)
{
	close(stub.dev_fd[i]);
	if (stub.dev_map[i] != MAP_FAILED)
		munmap(stub.dev_map[i], 4096);
}

void devs_open(void)
{
	char name[24];

	dev_open(GPUS, "nvidiactl", NULL);
	dev_open(GPUS + 1, "nvidia-uvm", (void *)0x204a00000); /* where driver 580 has its own */
	for (int i = 0; i < stub.n_gpus; i++) {
		snprintf(name, sizeof(name), "nvidia%d", i);
		dev_open(i, name, NULL);
	}
}

void devs_close(void)
{
	dev_close(GPUS);
	dev_close(GPUS + 1);
	for (int i = 0; i < stub.n_gpus; i++)
		dev_close(i);
}

CALL(cuMemAllocManaged, (dev_ptr *ret, size_t len, unsigned flags), {
	(void)flags;
	*ret = (dev_ptr)mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, stub.dev_fd[GPUS + 1], 0);
	stub.managed = 1;
})

static int version_now(void)
{
	const char *v = getenv("STUB_CUDA_DRIVER");

	return v ? (int)strtol(v, NULL, 10) : 12080;
}

int stub_lends(void)
{
	return version_now() >= 13040 && !getenv("STUB_CUDA_KEEPS");
}

FREE_CALL(cuDriverGetVersion, (int *version), { *version = version_now(); })
CALL(cuDeviceGetCount, (int *n), { *n = stub.n_gpus; })
CALL(cuDeviceGet, (int *dev, int i), { r = i >= 0 && i < stub.n_gpus ? OK : INVALID_DEVICE; *dev = i; })
CALL(cuDeviceGetName, (char *name, int len, int dev), {
	snprintf(name, (size_t)len, "Stub GPU %s", stub.number[dev] < 100 ? "A" : "B");
})
CALL(cuDeviceGetUuid_v2, (uint8_t *uuid, int dev), { uuid_of(stub.number[dev], uuid); })
CALL(cuDeviceTotalMem_v2, (size_t *len, int dev), { (void)dev; *len = stub.mem_len; })
CALL(cuDeviceGetPCIBusId, (char *bus, int len, int dev), { snprintf(bus, (size_t)len, "0000:%02X:00.0", dev + 1); })

FREE_CALL(cuGetErrorName, (int error, const char **name), {
	static const struct { int error; const char *name; } known[] = {
		{ INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE" }, { OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY" },
		{ NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED" }, { NO_DEVICE, "CUDA_ERROR_NO_DEVICE" },
		{ ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE" }, { NOT_READY, "CUDA_ERROR_NOT_READY" },
		{ NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED" },
	};
	*name = "CUDA_ERROR_UNKNOWN";
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].error == error)
			*name = known[i].name;
})
FREE_CALL(cuGetErrorString, (int error, const char **text), { (void)error; *text = "says the stub"; })

int cuGetProcAddress_v2(const char *name, void **call, int version, uint64_t flags, int *found);
int cuGetProcAddress_v2(const char *name, void **call, int version, uint64_t flags, int *found)
{
	char versioned[80];

	(void)flags;
	if (!strcmp(name, "cuCheckpointOperationComplete") && (version < 13040 || !stub_lends()))
		return version < 13040 ? INVALID_VALUE : NOT_FOUND;
	snprintf(versioned, sizeof(versioned), "%s_v2", name);
	*call = dlsym(RTLD_DEFAULT, versioned);
	if (!*call)
		*call = dlsym(RTLD_DEFAULT, name);
	if (found)
		*found = !*call;
	return *call ? OK : NOT_FOUND;
}

struct ctx *ctx_now(void)
{
	return depth ? current[depth - 1] : NULL;
}

static int ctx_push(struct ctx *c)
{
	if (depth == 16)
		return INVALID_CONTEXT;
	current[depth++] = c;
	return OK;
}

static int ctx_new(struct ctx **ret, int gpu)
{
	int r = OUT_OF_MEMORY;

	pthread_mutex_lock(&stub.lock);
	for (int i = 0; i < CTXS && r; i++)
		if (!stub.ctx[i].used) {
			stub.ctx[i] = (struct ctx){ 1, gpu };
			*ret = &stub.ctx[i];
			r = OK;
		}
	pthread_mutex_unlock(&stub.lock);
	return r ? r : ctx_push(*ret);
}

CALL(cuCtxCreate_v2, (struct ctx **ret, unsigned flags, int dev), { (void)flags; r = ctx_new(ret, dev); })
CALL(cuCtxDestroy_v2, (struct ctx *c), { c->used = 0; if (ctx_now() == c) depth--; })
CALL(cuCtxPushCurrent_v2, (struct ctx *c), { r = ctx_push(c); })
CALL(cuCtxPopCurrent_v2, (struct ctx **ret), {
	r = depth ? OK : INVALID_CONTEXT;
	if (ret)
		*ret = ctx_now();
	depth -= depth > 0;
})
CALL(cuCtxSetCurrent, (struct ctx *c), { depth = 0; r = c ? ctx_push(c) : OK; })
CALL(cuCtxGetCurrent, (struct ctx **ret), { *ret = ctx_now(); })
CALL(cuCtxSynchronize, (void), { r = ctx_now() ? OK : INVALID_CONTEXT; })
CALL(cuDevicePrimaryCtxRetain, (struct ctx **ret, int dev), {
	stub.primary[dev] = (struct ctx){ 1, dev };
	*ret = &stub.primary[dev];
	stub.primary_refs[dev]++;
})
CALL(cuDevicePrimaryCtxRelease_v2, (int dev), { stub.primary_refs[dev]--; })
CALL(cuStreamCreate, (void **stream, unsigned flags), {
	(void)flags;
	r = ctx_now() ? OK : INVALID_CONTEXT;
	*stream = ctx_now();
})
CALL(cuStreamDestroy_v2, (void *stream), { (void)stream; })
CALL(cuStreamSynchronize, (void *stream), { (void)stream; })
