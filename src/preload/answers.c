/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program may ask about memory that the library serves: it hears what it would hear of cuMemAlloc's memory.
 * The driver answers first, so that its errors stay its errors; then what it cannot know is put right.
 */
#include "preload/owner.h"

cu_result take_cuMemGetAddressRange_v2(cu_address *ret_va, size_t *ret_bytes, cu_address at)
{
	uint64_t va, bytes;
	bool ours;

	owner_lock();
	ours = owner_find(at, &va, &bytes);
	owner_unlock();
	if (!ours)
		return driver.cuMemGetAddressRange_v2(ret_va, ret_bytes, at);
	if (ret_va)
		*ret_va = va;
	if (ret_bytes)
		*ret_bytes = bytes;
	return CU_SUCCESS;
}

/* Memory that is held ready for the next block is free memory to the program. Locked: it must not be counted twice. */
cu_result take_cuMemGetInfo_v2(size_t *ret_free, size_t *ret_total)
{
	cu_device dev;
	cu_result r;

	owner_lock();
	r = driver.cuMemGetInfo_v2(ret_free, ret_total);
	if (r == CU_SUCCESS && ret_free && driver.cuCtxGetDevice(&dev) == CU_SUCCESS)
		for (struct owner *o = owner_first(); o; o = o->next)
			if (o->dev == dev)
				*ret_free += (size_t)heap_spare(&o->heap) << HEAP_PAGE_SHIFT;
	owner_unlock();
	return r;
}

/* Whether this attribute of this address is ours to say; then it is said. */
static bool attribute_answer(int attribute, cu_address at, void *to)
{
	uint64_t va, bytes;
	struct owner *o;

	if (!to || (attribute != CU_POINTER_CONTEXT && attribute != CU_POINTER_RANGE_START &&
		    attribute != CU_POINTER_RANGE_SIZE && attribute != CU_POINTER_HANDLE_TYPES))
		return false;
	owner_lock();
	o = owner_find(at, &va, &bytes);
	if (o && attribute == CU_POINTER_CONTEXT)
		*(cu_context *)to = o->ctx;
	if (o && attribute == CU_POINTER_RANGE_START)
		*(cu_address *)to = va;
	if (o && attribute == CU_POINTER_RANGE_SIZE)
		*(size_t *)to = bytes;
	if (o && attribute == CU_POINTER_HANDLE_TYPES)
		*(uint64_t *)to = 0; /* nobody shall share what a dump takes away */
	owner_unlock();
	return o;
}

cu_result take_cuPointerGetAttribute(void *to, int attribute, cu_address at)
{
	return attribute_answer(attribute, at, to) ? CU_SUCCESS : driver.cuPointerGetAttribute(to, attribute, at);
}

cu_result take_cuPointerGetAttributes(unsigned n, int *attribute, void **to, cu_address at)
{
	cu_result r = driver.cuPointerGetAttributes(n, attribute, to, at);

	for (unsigned i = 0; r == CU_SUCCESS && i < n; i++)
		attribute_answer(attribute[i], at, to[i]);
	return r;
}
