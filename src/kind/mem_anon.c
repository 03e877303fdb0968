/* SPDX-License-Identifier: Apache-2.0 */
/* Private anonymous memory: heap, stacks, arenas. Its last row in the registry takes whatever has no name. */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "kind/vma.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

static bool anon_match(const struct map *m)
{
	return !m->name[0] || m->name[0] == '[';
}

static int anon_dump(struct dumping *d, struct dump_task *t, const struct map *m, VmaEntry *v)
{
	static const char *const known[] = { "[heap]", "[stack", "[anon:" };
	bool ok = !m->name[0];

	(void)t;
	vma_fill(d->a, m, v);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		ok |= !strncmp(m->name, known[i], strlen(known[i]));
	if (!ok || m->shared)
		return err_say(ENOTSUP, "mapping %" PRIx64 "-%" PRIx64 " (%s) is not supported yet", m->start_va,
			       m->end_va, m->name);
	v->flags |= MAP_ANONYMOUS;
	v->pgoff = 0;
	v->status |= VMA_ANON_PRIVATE;
	if (!strcmp(m->name, "[heap]"))
		v->status |= VMA_AREA_HEAP;
	return 0;
}

static bool anon_owns(const VmaEntry *v)
{
	const uint32_t special = VMA_AREA_VDSO | VMA_AREA_VVAR | VMA_AREA_VSYSCALL | VMA_AREA_AIORING |
				 VMA_AREA_SOCKET | VMA_AREA_SHSTK | VMA_AREA_GUARD | VMA_AREA_UPROBES;

	return (v->status & VMA_ANON_PRIVATE) && !(v->status & special);
}

static int anon_map(struct restoring *r, const struct snap_task *t, const VmaEntry *v, uint32_t prot, struct prog *p)
{
	(void)r, (void)t;
	if (v->flags & MAP_HUGETLB)
		return err_say(ENOTSUP, "mapping %" PRIx64 ": huge pages (hugetlb) are not supported yet", v->start);
	vma_map(v, prot, v->flags & MAP_DROPPABLE ? MAP_DROPPABLE : MAP_PRIVATE, -1, p);
	return 0;
}

const struct kind_mem kind_mem_anon = {
	.name = "anonymous",
	.match = anon_match,
	.dump = anon_dump,
	.owns = anon_owns,
	.map = anon_map,
};
