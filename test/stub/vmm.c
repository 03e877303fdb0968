/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's virtual memory calls (stub.h): a physical piece is a memfd, and to map it is to map it. So memory that
 * is exported, passed on and imported really is the same memory, in this process and in others.
 *
 * As strict as the real driver where a mistake would go unseen otherwise: lengths are whole granules, addresses must be
 * reserved and free, a mapping goes as a whole, and memory cannot be used before access was given.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stub.h"

enum { PIECES = 4096, RESERVED = 64, GRANULE = 2 << 20 };

static struct piece {
	int fd, users, gpu, imported; /* users: the handle and each mapping; 0: a free row */
	size_t len;
} pieces[PIECES];
static struct {
	dev_ptr at;
	size_t len;
} reserved[RESERVED];

static int piece_new(struct piece p, uint64_t *ret)
{
	for (uint64_t i = 0; i < PIECES; i++)
		if (!pieces[i].users) {
			pieces[i] = p;
			*ret = i + 1;
			return OK;
		}
	return OUT_OF_MEMORY;
}

static struct piece *piece_of(uint64_t h)
{
	return h && h <= PIECES && pieces[h - 1].users ? &pieces[h - 1] : NULL;
}

static void piece_put(struct piece *p)
{
	if (--p->users)
		return;
	close(p->fd);
	if (!p->imported)
		stub.taken[p->gpu] -= p->len;
}

int pieces_let_go(void)
{
	for (int i = 0; i < ALLOCS; i++)
		stub.lost |= stub.alloc[i].at && stub.alloc[i].piece && stub.alloc[i].piece->imported;
	for (int i = 0; i < PIECES; i++)
		if (pieces[i].users) {
			close(pieces[i].fd);
			pieces[i].fd = -1;
		}
	return OK;
}

static int piece_map(const struct alloc *a, int prot)
{
	void *p = mmap((void *)a->at, a->len, prot, MAP_SHARED | MAP_FIXED, a->piece->fd, 0);

	return p == MAP_FAILED ? OUT_OF_MEMORY : OK;
}

int pieces_restore(struct alloc *a)
{
	if (a->piece->fd < 0) {
		a->piece->fd = memfd_create("nvidia-piece", MFD_CLOEXEC);
		if (a->piece->fd < 0 || ftruncate(a->piece->fd, (off_t)a->piece->len))
			return OUT_OF_MEMORY;
	}
	return piece_map(a, PROT_READ | PROT_WRITE);
}

static int reserve(dev_ptr *ret, size_t len)
{
	int i = 0;
	char *at;

	while (i < RESERVED && reserved[i].at)
		i++;
	at = i < RESERVED ? mmap(NULL, len + GRANULE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) :
			    MAP_FAILED;
	if (at == MAP_FAILED)
		return OUT_OF_MEMORY;
	*ret = ((dev_ptr)at + GRANULE - 1) & ~(dev_ptr)(GRANULE - 1);
	if (*ret > (dev_ptr)at)
		munmap(at, *ret - (dev_ptr)at);
	if ((dev_ptr)at + GRANULE > *ret)
		munmap((char *)*ret + len, (dev_ptr)at + GRANULE - *ret);
	reserved[i].at = *ret;
	reserved[i].len = len;
	return OK;
}

static int reserved_free(dev_ptr at, size_t len)
{
	for (int i = 0; i < RESERVED; i++)
		if (reserved[i].at == at && reserved[i].len == len) {
			munmap((void *)at, len);
			reserved[i].at = 0;
			return OK;
		}
	return INVALID_VALUE;
}

/* Inside one reservation, and nothing there yet. */
static int place_is_free(dev_ptr at, size_t len)
{
	int inside = 0;

	for (int i = 0; i < RESERVED; i++)
		inside |= reserved[i].at && at >= reserved[i].at && at + len <= reserved[i].at + reserved[i].len;
	for (int i = 0; i < ALLOCS; i++)
		if (stub.alloc[i].at && at < stub.alloc[i].at + stub.alloc[i].len && stub.alloc[i].at < at + len)
			return 0;
	return inside;
}

static int map(dev_ptr at, size_t len, uint64_t h)
{
	struct piece *p = piece_of(h);
	struct alloc *a = stub.alloc;
	int r;

	while (a < stub.alloc + ALLOCS && a->at)
		a++;
	if (!p || len != p->len || at % GRANULE || !place_is_free(at, len) || a == stub.alloc + ALLOCS)
		return INVALID_VALUE;
	*a = (struct alloc){ .at = at, .len = len, .gpu = p->gpu, .piece = p };
	r = piece_map(a, PROT_NONE);
	if (r)
		a->at = 0;
	else
		p->users++;
	return r;
}

static struct alloc *mapped_at(dev_ptr at)
{
	for (int i = 0; i < ALLOCS; i++)
		if (at && stub.alloc[i].at == at && stub.alloc[i].piece)
			return &stub.alloc[i];
	return NULL;
}

/* Whether a range is whole mappings, one behind the other. */
static int is_mapped(dev_ptr at, size_t len)
{
	while (len) {
		const struct alloc *a = mapped_at(at);

		if (!a || a->len > len)
			return 0;
		at += a->len;
		len -= a->len;
	}
	return 1;
}

static int unmap(dev_ptr at, size_t len)
{
	struct alloc *a = mapped_at(at);

	if (!len || !is_mapped(at, len))
		return INVALID_VALUE;
	if (a->len < len)
		unmap(at + a->len, len - a->len);
	len = a->len;
	mmap((void *)at, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	piece_put(a->piece);
	a->at = 0;
	return OK;
}

static int create(uint64_t *ret, size_t len, const int *kind)
{
	int gpu = kind[3], r, fd; /* type, kinds of handle, kind of place, place */

	if (!len || len % GRANULE || kind[0] != 1 || kind[2] != 1 || gpu < 0 || gpu >= stub.n_gpus)
		return INVALID_VALUE;
	if (stub.taken[gpu] + len > stub.mem_len)
		return OUT_OF_MEMORY;
	fd = memfd_create("nvidia-piece", MFD_CLOEXEC);
	r = fd < 0 || ftruncate(fd, (off_t)len) ? OUT_OF_MEMORY : piece_new((struct piece){ fd, 1, gpu, 0, len }, ret);
	if (r && fd >= 0)
		close(fd);
	if (!r)
		stub.taken[gpu] += len;
	return r;
}

static int import(uint64_t *ret, int os_fd)
{
	int fd = dup(os_fd), r = INVALID_VALUE;
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && st.st_size)
		r = piece_new((struct piece){ fd, 1, 0, 1, (size_t)st.st_size }, ret);
	if (r && fd >= 0)
		close(fd);
	return r;
}

static int release(uint64_t h)
{
	struct piece *p = piece_of(h);

	if (!p)
		return INVALID_VALUE;
	piece_put(p);
	return OK;
}

static int export(int *ret, const struct piece *p)
{
	*ret = p && !p->imported ? dup(p->fd) : -1; /* as the real one: what was imported stays so */
	return *ret < 0 ? INVALID_VALUE : OK;
}

#define LOCKED_CALL(name, args, ...)              \
	CALL(name, args, {                        \
		pthread_mutex_lock(&stub.lock);   \
		__VA_ARGS__                       \
		pthread_mutex_unlock(&stub.lock); \
	})

CALL(cuMemGetAllocationGranularity, (size_t *ret, const void *kind, int option), {
	(void)kind;
	(void)option;
	*ret = GRANULE;
})
LOCKED_CALL(cuMemAddressReserve, (dev_ptr *ret, size_t len, size_t align, dev_ptr want, uint64_t flags), {
	r = want || flags || !len || len % GRANULE || align > GRANULE ? INVALID_VALUE : reserve(ret, len);
})
LOCKED_CALL(cuMemAddressFree, (dev_ptr at, size_t len), { r = reserved_free(at, len); })
LOCKED_CALL(cuMemCreate, (uint64_t *ret, size_t len, const int *kind, uint64_t flags), {
	r = flags ? INVALID_VALUE : create(ret, len, kind);
})
LOCKED_CALL(cuMemRelease, (uint64_t h), { r = release(h); })
LOCKED_CALL(cuMemMap, (dev_ptr at, size_t len, size_t from, uint64_t h, uint64_t flags), {
	r = from || flags ? INVALID_VALUE : map(at, len, h);
})
LOCKED_CALL(cuMemUnmap, (dev_ptr at, size_t len), { r = unmap(at, len); })
LOCKED_CALL(cuMemSetAccess, (dev_ptr at, size_t len, const int *access, size_t n), {
	int prot = access[2] == 3 ? PROT_READ | PROT_WRITE : PROT_READ;

	r = !n || !len || !is_mapped(at, len) || mprotect((void *)at, len, prot) ? INVALID_VALUE : OK;
})
LOCKED_CALL(cuMemExportToShareableHandle, (int *ret, uint64_t h, int type, uint64_t flags), {
	r = type != 1 || flags ? INVALID_VALUE : export(ret, piece_of(h));
})
/* The descriptor stays the caller's. */
LOCKED_CALL(cuMemImportFromShareableHandle, (uint64_t *ret, void *os_handle, int type), {
	r = type != 1 ? INVALID_VALUE : import(ret, (int)(intptr_t)os_handle);
})

/* What can be asked about memory. */
static struct alloc *alloc_of(dev_ptr at)
{
	for (int i = 0; i < ALLOCS; i++)
		if (stub.alloc[i].at && at >= stub.alloc[i].at && at - stub.alloc[i].at < stub.alloc[i].len)
			return &stub.alloc[i];
	return NULL;
}

CALL(cuDeviceGetAttribute, (int *ret, int attribute, int dev), {
	(void)dev;
	*ret = attribute == 102 || attribute == 103; /* virtual memory, handles that are descriptors */
})
CALL(cuCtxGetDevice, (int *dev), {
	r = ctx_now() ? OK : INVALID_CONTEXT;
	*dev = r ? 0 : ctx_now()->gpu;
})
CALL(cuStreamSynchronize_ptsz, (void *stream), { (void)stream; })
CALL(cuDevicePrimaryCtxGetState, (int dev, unsigned *flags, int *active), {
	*flags = 0;
	*active = stub.primary_refs[dev] > 0;
})
CALL(cuMemGetAddressRange_v2, (dev_ptr *at, size_t *len, dev_ptr in), {
	struct alloc *a = alloc_of(in);

	r = a ? OK : INVALID_VALUE;
	if (a && at)
		*at = a->at;
	if (a && len)
		*len = a->len;
})
/* The type of memory, and where it begins. */
CALL(cuPointerGetAttribute, (void *ret, int attribute, dev_ptr in), {
	struct alloc *a = alloc_of(in);

	r = a && (attribute == 2 || attribute == 11) ? OK : INVALID_VALUE;
	if (!r && attribute == 2)
		*(int *)ret = 2;
	else if (!r)
		*(dev_ptr *)ret = a->at;
})
CALL(cuMemAllocPitch_v2, (dev_ptr *ret, size_t *pitch, size_t width, size_t height, unsigned element), {
	(void)ret;
	(void)pitch;
	(void)width;
	(void)height;
	(void)element;
	r = NOT_SUPPORTED;
})

/* A table without names, as the runtime uses: its length, a function, something else. */
static int nameless(int a)
{
	call_begin("nameless");
	return a + 1;
}

static const struct {
	size_t len;
	int (*call)(int);
	const void *data;
} table = { sizeof(table), nameless, &stub };

CALL(cuGetExportTable, (const void **ret, const void *uuid), {
	(void)uuid;
	*ret = &table;
})

/* Copies that streams order: all are over at once here. */
CALL(cuMemcpyDtoD_v2, (dev_ptr to, dev_ptr from, size_t len), { memcpy((void *)to, (void *)from, len); })
CALL(cuMemcpyDtoDAsync_v2, (dev_ptr to, dev_ptr from, size_t len, void *stream), {
	(void)stream;
	memcpy((void *)to, (void *)from, len);
})
CALL(cuMemcpyHtoDAsync_v2, (dev_ptr to, const void *from, size_t len, void *stream), {
	(void)stream;
	memcpy((void *)to, from, len);
})
CALL(cuMemcpyDtoHAsync_v2, (void *to, dev_ptr from, size_t len, void *stream), {
	(void)stream;
	memcpy(to, (void *)from, len);
})
CALL(cuMemsetD8Async, (dev_ptr at, unsigned char value, size_t len, void *stream), {
	(void)stream;
	memset((void *)at, value, len);
})
