/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to contexts that happens to their memory too: cuMemAlloc's memory goes with its context, and opens to
 * other devices with it. Memory from the virtual memory calls does neither by itself.
 */
#include "preload/owner.h"

static void memory_drop(cu_context ctx)
{
	struct owner *o;

	owner_lock();
	for (o = owner_first(); o && o->ctx != ctx; o = o->next)
		;
	if (o)
		owner_drop(o);
	owner_unlock();
}

cu_result take_cuCtxDestroy_v2(cu_context ctx)
{
	cu_result r = driver.cuCtxDestroy_v2(ctx);

	if (r == CU_SUCCESS)
		memory_drop(ctx);
	return r;
}

/* The primary context of a device, where it is alive; the driver has no call that only looks at it. */
static cu_context primary_of(cu_device dev)
{
	cu_context ctx = NULL;
	unsigned flags;
	int active = 0;

	if (driver.cuDevicePrimaryCtxGetState(dev, &flags, &active) != CU_SUCCESS || !active ||
	    driver.cuDevicePrimaryCtxRetain(&ctx, dev) != CU_SUCCESS)
		return NULL;
	driver.cuDevicePrimaryCtxRelease_v2(dev);
	return ctx;
}

/* What was the primary context before and is none any more has lost its memory. */
static cu_result primary_check(cu_result r, cu_device dev, cu_context before)
{
	unsigned flags;
	int active = 1;

	if (r == CU_SUCCESS && before && driver.cuDevicePrimaryCtxGetState(dev, &flags, &active) == CU_SUCCESS &&
	    !active)
		memory_drop(before);
	return r;
}

cu_result take_cuDevicePrimaryCtxRelease_v2(cu_device dev)
{
	cu_context before = primary_of(dev);

	return primary_check(driver.cuDevicePrimaryCtxRelease_v2(dev), dev, before);
}

cu_result take_cuDevicePrimaryCtxReset_v2(cu_device dev)
{
	cu_context before = primary_of(dev);
	cu_result r = driver.cuDevicePrimaryCtxReset_v2(dev);

	if (r == CU_SUCCESS && before)
		memory_drop(before);
	return r;
}

/* The calling context may reach all memory of the other one from now on, and what it allocates later. */
cu_result take_cuCtxEnablePeerAccess(cu_context other, unsigned flags)
{
	cu_result r = driver.cuCtxEnablePeerAccess(other, flags);
	cu_device mine, its;
	cu_context self = NULL;
	struct owner *o;

	if (r != CU_SUCCESS || driver.cuCtxGetDevice(&mine) != CU_SUCCESS || mine >= 64 ||
	    driver.cuCtxGetCurrent(&self) != CU_SUCCESS || driver.cuCtxSetCurrent(other) != CU_SUCCESS)
		return r;
	owner_lock();
	o = driver.cuCtxGetDevice(&its) == CU_SUCCESS ? owner_of(other, its) : NULL;
	driver.cuCtxSetCurrent(self);
	if (o && its != mine) {
		o->peers |= 1ull << mine;
		for (size_t i = 0; i < o->heap.n_pieces && r == CU_SUCCESS; i++)
			r = owner_access(o, o->heap.piece[i].va, o->heap.piece[i].pages);
	}
	owner_unlock();
	return r;
}
