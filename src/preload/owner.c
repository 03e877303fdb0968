/* SPDX-License-Identifier: Apache-2.0 */
/* Owners (owner.h): heaps filled with the driver's virtual memory calls. */
#include "preload/owner.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "preload/session.h"

static struct {
	pthread_mutex_t lock;
	struct owner *first;
	struct owner_counts counts;
} owners = { .lock = PTHREAD_MUTEX_INITIALIZER };

void owner_lock(void)
{
	pthread_mutex_lock(&owners.lock);
}

void owner_unlock(void)
{
	pthread_mutex_unlock(&owners.lock);
}

struct owner *owner_first(void)
{
	return owners.first;
}

static bool device_has(cu_device dev, int attribute)
{
	int has = 0;

	return driver.cuDeviceGetAttribute(&has, attribute, dev) == CU_SUCCESS && has;
}

/* As cuMemAlloc's memory is; but it costs 6 us at each mapping, so only where there is anybody to use it. */
static bool rdma_wanted(cu_device dev)
{
	return device_has(dev, CU_HAS_RDMA_WITH_VMM) &&
	       (!access("/sys/class/infiniband", F_OK) || !access("/sys/module/nvidia_fs", F_OK) ||
		!access("/sys/module/gdrdrv", F_OK));
}

struct owner *owner_of(cu_context ctx, cu_device dev)
{
	struct owner *o = owners.first;

	while (o && o->ctx != ctx)
		o = o->next;
	if (o)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->ctx = ctx;
	o->dev = dev;
	o->rdma = rdma_wanted(dev);
	o->left_alone = !device_has(dev, CU_HAS_VMM) || !device_has(dev, CU_HAS_FD_HANDLES) ||
			driver.cuDeviceGetUuid_v2(o->uuid, dev) != CU_SUCCESS;
	o->next = owners.first;
	owners.first = o;
	return o;
}

struct owner *owner_current(void)
{
	cu_context ctx = NULL;
	cu_device dev;

	if (driver.cuCtxGetCurrent(&ctx) != CU_SUCCESS || !ctx || driver.cuCtxGetDevice(&dev) != CU_SUCCESS)
		return NULL;
	return owner_of(ctx, dev);
}

struct owner *owner_find(cu_address at, uint64_t *ret_va, uint64_t *ret_bytes)
{
	for (struct owner *o = owners.first; o; o = o->next)
		if (heap_find(&o->heap, at, ret_va, ret_bytes))
			return o;
	return NULL;
}

cu_result owner_access(const struct owner *o, uint64_t va, uint32_t pages)
{
	struct cu_access access[64];
	size_t n = 1;

	access[0] = (struct cu_access){ { CU_ON_DEVICE, o->dev }, CU_READ_WRITE };
	for (int dev = 0; dev < 64 && n < 64; dev++)
		if (o->peers >> dev & 1)
			access[n++] = (struct cu_access){ { CU_ON_DEVICE, dev }, CU_READ_WRITE };
	return driver.cuMemSetAccess(va, (size_t)pages << HEAP_PAGE_SHIFT, access, n);
}

cu_result owner_map(const struct owner *o, uint64_t va, uint32_t pages, cu_memory handle)
{
	size_t len = (size_t)pages << HEAP_PAGE_SHIFT;
	cu_result r = driver.cuMemMap(va, len, 0, handle, 0);

	if (r != CU_SUCCESS)
		return r;
	r = owner_access(o, va, pages);
	if (r != CU_SUCCESS)
		driver.cuMemUnmap(va, len);
	return r;
}

static void piece_free(struct owner *o, const struct heap_piece *p)
{
	driver.cuMemUnmap(p->va, (size_t)p->pages << HEAP_PAGE_SHIFT);
	driver.cuMemRelease(p->handle);
	heap_drop_piece(&o->heap, p->va);
}

/* Address space costs nothing: as much as the GPU has memory, so that one range is nearly always enough. */
static uint64_t place_find(struct owner *o, uint64_t pages)
{
	uint64_t va = heap_place(&o->heap, pages);
	cu_address range = 0;
	size_t total = 0;

	if (va)
		return va;
	driver.cuDeviceTotalMem_v2(&total, o->dev);
	total &= ~(HEAP_PAGE - 1);
	if (total < pages << HEAP_PAGE_SHIFT)
		total = pages << HEAP_PAGE_SHIFT;
	if (driver.cuMemAddressReserve(&range, total, HEAP_PAGE, 0, 0) != CU_SUCCESS)
		return 0;
	if (heap_add_range(&o->heap, range, total >> HEAP_PAGE_SHIFT) < 0) {
		driver.cuMemAddressFree(range, total);
		return 0;
	}
	return heap_place(&o->heap, pages);
}

cu_result owner_create(const struct owner *o, uint64_t pages, cu_memory *ret)
{
	struct cu_memory_kind kind = { CU_PINNED, CU_BY_FD, { CU_ON_DEVICE, o->dev }, NULL, { 0 } };

	kind.flags.rdma = o->rdma;
	return driver.cuMemCreate(ret, (size_t)pages << HEAP_PAGE_SHIFT, &kind, 0);
}

static bool piece_make(struct owner *o, uint64_t pages, bool shared)
{
	uint64_t va = pages <= UINT32_MAX ? place_find(o, pages) : 0;
	cu_memory handle;
	cu_result r;

	if (!va)
		return false;
	r = owner_create(o, pages, &handle);
	if (r != CU_SUCCESS) {
		o->left_alone = r != CU_OUT_OF_MEMORY && !o->heap.n_pieces;
		return false;
	}
	if (owner_map(o, va, (uint32_t)pages, handle) == CU_SUCCESS) {
		if (heap_add_piece(&o->heap, va, (uint32_t)pages, handle, shared) >= 0) {
			owners.counts.pieces++;
			session_start();
			return true;
		}
		driver.cuMemUnmap(va, (size_t)pages << HEAP_PAGE_SHIFT);
	}
	driver.cuMemRelease(handle);
	return false;
}

/* Room for a block: a piece to share, or one for it alone, also where memory is too short for the former. */
static bool room_make(struct owner *o, uint64_t pages)
{
	const struct heap_piece *spare;

	if (pages <= HEAP_SHARED_MOST && piece_make(o, HEAP_SHARED, true))
		return true;
	if (piece_make(o, pages, false))
		return true;
	spare = heap_empty(&o->heap, 0);
	if (!spare)
		return false;
	piece_free(o, spare);
	return piece_make(o, pages, false);
}

cu_address owner_alloc(struct owner *o, size_t bytes)
{
	cu_address va = o->left_alone ? 0 : heap_take(&o->heap, bytes);

	if (!va && !o->left_alone && room_make(o, heap_pages(bytes)))
		va = heap_take(&o->heap, bytes);
	if (va)
		owners.counts.blocks++;
	else
		owners.counts.refused++;
	return va;
}

/* One empty shared piece is kept, so that a program that allocates and frees in turn does not pay for it each time. */
void owner_release(struct owner *o, cu_address va)
{
	const struct heap_piece *empty;

	if (heap_give(&o->heap, va, &empty) < 0 || !empty)
		return;
	if (!empty->shared || heap_empty(&o->heap, empty->va))
		piece_free(o, empty);
}

void owner_drop(struct owner *o)
{
	struct owner **at = &owners.first;

	while (o->heap.n_pieces)
		piece_free(o, &o->heap.piece[o->heap.n_pieces - 1]);
	for (size_t i = 0; i < o->heap.n_ranges; i++)
		driver.cuMemAddressFree(o->heap.range[i].va, (size_t)o->heap.range[i].pages << HEAP_PAGE_SHIFT);
	heap_free(&o->heap);
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	free(o);
}

void owner_forked(void)
{
	pthread_mutex_init(&owners.lock, NULL);
	owners.first = NULL;
}

struct owner_counts owner_counts(void)
{
	return owners.counts;
}
