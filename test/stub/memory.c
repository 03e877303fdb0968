/* SPDX-License-Identifier: Apache-2.0 */
/* Device memory (stub.h). */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "stub.h"

/* Device memory at its address, zeroed as new memory is; the memfd lives as long as it is mapped. */
int mem_map(int gpu, dev_ptr at, size_t len, dev_ptr *ret)
{
	char name[32];
	void *p = MAP_FAILED;
	int fd;

	snprintf(name, sizeof(name), "nvidia-memory-%d", stub.number[gpu]); /* nvml.c looks for it */
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, (off_t)len) == 0)
		p = mmap((void *)at, len, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	close(fd);
	*ret = (dev_ptr)p;
	return p == MAP_FAILED ? OUT_OF_MEMORY : OK;
}

static size_t whole_pages(size_t len)
{
	return (len + 4095) & ~(size_t)4095;
}

static int mem_alloc(dev_ptr *ret, size_t len)
{
	int gpu = ctx_now()->gpu, r = OUT_OF_MEMORY;

	len = whole_pages(len);
	pthread_mutex_lock(&stub.lock);
	for (int i = 0; i < ALLOCS && len && stub.taken[gpu] + len <= stub.mem_len && r; i++) {
		struct alloc *a = &stub.alloc[i];

		if (a->at || (r = mem_map(gpu, 0, len, &a->at)))
			continue;
		a->len = len;
		a->gpu = gpu;
		a->piece = NULL;
		stub.taken[gpu] += len;
		*ret = a->at;
	}
	pthread_mutex_unlock(&stub.lock);
	return r;
}

static int mem_free(dev_ptr at)
{
	int r = INVALID_VALUE;

	pthread_mutex_lock(&stub.lock);
	for (int i = 0; i < ALLOCS && r; i++)
		if (at && stub.alloc[i].at == at) {
			munmap((void *)at, stub.alloc[i].len);
			stub.taken[stub.alloc[i].gpu] -= stub.alloc[i].len;
			stub.alloc[i].at = 0;
			r = OK;
		}
	pthread_mutex_unlock(&stub.lock);
	return r;
}

CALL(cuMemAlloc_v2, (dev_ptr *ret, size_t len), { r = ctx_now() ? mem_alloc(ret, len) : INVALID_CONTEXT; })
CALL(cuMemFree_v2, (dev_ptr at), { r = mem_free(at); })
CALL(cuMemGetInfo_v2, (size_t *left, size_t *total), {
	r = ctx_now() ? OK : INVALID_CONTEXT;
	*total = stub.mem_len;
	*left = stub.mem_len - (r ? 0 : stub.taken[ctx_now()->gpu]);
})
CALL(cuMemsetD8_v2, (dev_ptr at, unsigned char value, size_t len), { memset((void *)at, value, len); })
CALL(cuMemcpyHtoD_v2, (dev_ptr to, const void *from, size_t len), { memcpy((void *)to, from, len); })
CALL(cuMemcpyDtoH_v2, (void *to, dev_ptr from, size_t len), { memcpy(to, (void *)from, len); })
CALL(cuMemHostAlloc, (void **ret, size_t len, unsigned flags), {
	(void)flags;
	*ret = mmap(NULL, 4096 + whole_pages(len), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r = *ret == MAP_FAILED ? OUT_OF_MEMORY : OK;
	if (!r) {
		*(size_t *)*ret = 4096 + whole_pages(len); /* for cuMemFreeHost */
		*ret = (char *)*ret + 4096;
	}
})
CALL(cuMemFreeHost, (void *p), { munmap((char *)p - 4096, *(size_t *)((char *)p - 4096)); })
