/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contexts whose large allocations the library serves, and the driver calls behind a heap (heap.h).
 *
 * One lock over all: it is only ever held inside the gate, so whoever has closed the gate finds it free.
 */
#ifndef PRELOAD_OWNER_H
#define PRELOAD_OWNER_H

#include <stdbool.h>

#include "preload/driver.h"
#include "preload/heap.h"

struct owner {
	struct owner *next;
	cu_context ctx;
	cu_device dev;
	uint64_t peers;  /* other devices that may reach this memory: a bit for each */
	bool rdma;       /* other PCI devices may be let at its memory */
	bool left_alone; /* this device cannot do it; its memory stays the driver's */
	unsigned char uuid[16];
	struct heap heap;
};

void owner_lock(void);
void owner_unlock(void);
/* With the lock held: */
struct owner *owner_first(void);
/* The owner of the calling thread's context, NULL where there is none or no memory to be had. */
struct owner *owner_current(void);
struct owner *owner_of(cu_context ctx, cu_device dev);
/* Whose block covers this address. */
struct owner *owner_find(cu_address at, uint64_t *ret_va, uint64_t *ret_bytes);
/* 0 when this cannot be served: the driver's turn. */
cu_address owner_alloc(struct owner *o, size_t bytes);
void owner_release(struct owner *o, cu_address va);
/* Physical memory for a context's device. */
cu_result owner_create(const struct owner *o, uint64_t pages, cu_memory *ret);
/* Maps a physical piece where it belongs and lets the device, and its peers, at it. */
cu_result owner_map(const struct owner *o, uint64_t va, uint32_t pages, cu_memory handle);
cu_result owner_access(const struct owner *o, uint64_t va, uint32_t pages);
/* The context is gone, and all its memory. */
void owner_drop(struct owner *o);
/* In a child of fork(): none of this can be used there. */
void owner_forked(void);

/* For the line at exit: how many blocks and pieces were made. */
struct owner_counts {
	uint64_t blocks, pieces, refused;
};
struct owner_counts owner_counts(void);

#endif
