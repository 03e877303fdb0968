/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuMemAlloc and its relatives for large blocks. They are called through the gate; the driver's own version answers
 * whatever is too small, of another kind, or cannot be served.
 *
 * cuMemFree waits for all work of the context, as the driver's does (programs count on it). While a stream is being
 * captured nothing may wait: such a free is put off until no stream is.
 */
#include <pthread.h>
#include <stdlib.h>

#include "preload/owner.h"
#include "preload/serve.h"

enum { PITCH = 512 }; /* the driver's own rows begin at such multiples, and every device's texture units take them */

static struct {
	size_t least;
	int captures;
	cu_address *late; /* to be freed when nothing is captured any more; under the owners' lock */
	size_t n_late;
} serve = { .least = HEAP_PAGE };

void serve_set_least(size_t bytes)
{
	serve.least = bytes > HEAP_PAGE ? bytes : HEAP_PAGE;
}

static void late_free(void)
{
	uint64_t va, bytes;

	if (!serve.n_late || __atomic_load_n(&serve.captures, __ATOMIC_RELAXED) > 0)
		return;
	driver.cuCtxSynchronize();
	while (serve.n_late) {
		struct owner *o = owner_find(serve.late[--serve.n_late], &va, &bytes);

		if (o)
			owner_release(o, va);
	}
}

cu_result take_cuMemAlloc_v2(cu_address *ret, size_t bytes)
{
	struct owner *o;
	cu_address va = 0;

	if (!ret || bytes < serve.least)
		return driver.cuMemAlloc_v2(ret, bytes);
	owner_lock();
	late_free();
	o = owner_current();
	if (o)
		va = owner_alloc(o, bytes);
	owner_unlock();
	if (!va)
		return driver.cuMemAlloc_v2(ret, bytes);
	*ret = va;
	return CU_SUCCESS;
}

cu_result take_cuMemAllocPitch_v2(cu_address *ret, size_t *ret_pitch, size_t width, size_t height, unsigned element)
{
	size_t pitch = (width + PITCH - 1) / PITCH * PITCH, bytes;
	bool known = element == 4 || element == 8 || element == 16;

	if (!known || !ret || !ret_pitch || pitch < width || __builtin_mul_overflow(pitch, height, &bytes) ||
	    bytes < serve.least)
		return driver.cuMemAllocPitch_v2(ret, ret_pitch, width, height, element);
	*ret_pitch = pitch;
	return take_cuMemAlloc_v2(ret, bytes);
}

/* Waits for the work of a block's context, which need not be the caller's. */
static void context_settle(cu_context ctx)
{
	cu_context mine = NULL;
	bool other = driver.cuCtxGetCurrent(&mine) == CU_SUCCESS && mine != ctx;

	if (other)
		driver.cuCtxSetCurrent(ctx);
	driver.cuCtxSynchronize();
	if (other)
		driver.cuCtxSetCurrent(mine);
}

static bool late_add(cu_address va)
{
	cu_address *p = realloc(serve.late, (serve.n_late + 1) * sizeof(*p));

	if (!p)
		return false;
	serve.late = p;
	p[serve.n_late++] = va;
	return true;
}

/* The context of the block at exactly va, should it be one of ours. */
static bool block_find(cu_address va, cu_context *ret_ctx)
{
	uint64_t at, bytes;
	struct owner *o;

	owner_lock();
	o = owner_find(va, &at, &bytes);
	if (o)
		*ret_ctx = o->ctx;
	owner_unlock();
	return o && at == va;
}

static void block_release(cu_address va, bool late)
{
	uint64_t at, bytes;
	struct owner *o;

	owner_lock();
	o = owner_find(va, &at, &bytes);
	if (o && late)
		late_add(va); /* else it stays allocated: the lesser evil */
	else if (o)
		owner_release(o, va);
	owner_unlock();
}

/*
 * Whether the block at exactly va was one of ours, and is free now. wait: for the work of one stream, or NULL for all.
 * Nothing is locked meanwhile: the work may include host functions that wait for another thread.
 */
static bool block_free(cu_address va, cu_result (*wait)(cu_stream), cu_stream stream)
{
	bool late = __atomic_load_n(&serve.captures, __ATOMIC_RELAXED) > 0;
	cu_context ctx;

	if (!va || !block_find(va, &ctx))
		return false;
	if (!late && wait)
		wait(stream);
	else if (!late)
		context_settle(ctx);
	block_release(va, late);
	return true;
}

cu_result take_cuMemFree_v2(cu_address va)
{
	return block_free(va, NULL, NULL) ? CU_SUCCESS : driver.cuMemFree_v2(va);
}

cu_result take_cuMemFreeAsync(cu_address va, cu_stream stream)
{
	if (block_free(va, driver.cuStreamSynchronize, stream))
		return CU_SUCCESS;
	return driver.cuMemFreeAsync(va, stream);
}

cu_result take_cuMemFreeAsync_ptsz(cu_address va, cu_stream stream)
{
	if (block_free(va, driver.cuStreamSynchronize_ptsz, stream))
		return CU_SUCCESS;
	return driver.cuMemFreeAsync_ptsz(va, stream);
}

/*
 * Counts the streams that are being captured. A capture that went wrong is over, too; the other errors of
 * cuStreamEndCapture() mean that there was none in this stream, or that it goes on.
 */
static cu_result capture_count(cu_result r, int by)
{
	if (r == CU_SUCCESS || (by < 0 && (r == CU_CAPTURE_INVALIDATED || r == CU_CAPTURE_UNJOINED)))
		__atomic_fetch_add(&serve.captures, by, __ATOMIC_RELAXED);
	return r;
}

cu_result take_cuStreamBeginCapture_v2(cu_stream s, int mode)
{
	return capture_count(driver.cuStreamBeginCapture_v2(s, mode), 1);
}

cu_result take_cuStreamBeginCapture_v2_ptsz(cu_stream s, int mode)
{
	return capture_count(driver.cuStreamBeginCapture_v2_ptsz(s, mode), 1);
}

cu_result take_cuStreamBeginCaptureToGraph(cu_stream s, void *graph, const void *nodes, const void *edges, size_t n,
					   int mode)
{
	return capture_count(driver.cuStreamBeginCaptureToGraph(s, graph, nodes, edges, n, mode), 1);
}

cu_result take_cuStreamBeginCaptureToGraph_ptsz(cu_stream s, void *graph, const void *nodes, const void *edges,
						size_t n, int mode)
{
	return capture_count(driver.cuStreamBeginCaptureToGraph_ptsz(s, graph, nodes, edges, n, mode), 1);
}

cu_result take_cuStreamEndCapture(cu_stream s, void **ret_graph)
{
	return capture_count(driver.cuStreamEndCapture(s, ret_graph), -1);
}

cu_result take_cuStreamEndCapture_ptsz(cu_stream s, void **ret_graph)
{
	return capture_count(driver.cuStreamEndCapture_ptsz(s, ret_graph), -1);
}
