/* SPDX-License-Identifier: Apache-2.0 */
/* What every mapping has, whatever is behind it: flags for mmap(), advice, and a record that maps it. */
#ifndef KIND_VMA_H
#define KIND_VMA_H

#include "kind/kind.h"

/* Fills flags, status (regular), fd and name of v from m, as /proc/PID/maps tells them; the kind adds its own bits. */
void vma_fill(struct arena *a, const struct map *m, VmaEntry *v);
/* Refuses by name what no kind can bring back (huge pages, device memory, userfaultfd...). Takes m->vm_flags. */
int vma_refuse(const struct map *m) must_check;
/* Adds to v what only smaps tells: locks, advice, and whether it may become writable. Takes m->vm_flags. */
void vma_flags(const struct map *m, VmaEntry *v);

/* Emits mmap() of v at its address, nothing replaced. type: MAP_PRIVATE, MAP_SHARED...; fd -1: anonymous. */
void vma_map(const VmaEntry *v, uint32_t prot, uint32_t type, int fd, struct prog *p);
/* Emits the name of v for [start, end), or that it has none. */
void vma_name(const VmaEntry *v, uint64_t start, uint64_t end, struct prog *p);

#endif
