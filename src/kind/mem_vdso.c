/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own pages: vdso, its data (vvar) and the vsyscall page. Nothing
 * is mapped here on restore: the running kernel's vdso is moved to its place, or
 * bridged, when everything else stands.
 *
 * Since 6.13 the data comes as two mappings, [vvar] and [vvar_vclock]; the wire
 * knows one, so the first of them is made to cover both and dump() of the second
 * returns 1: no entry.
 */
#include <string.h>
#include <sys/mman.h>

#include "kind/vma.h"

static bool vdso_match(const struct map *m)
{
	return !strcmp(m->name, "[vdso]") || !strncmp(m->name, "[vvar", 5) || !strcmp(m->name, "[vsyscall]");
}

/* The mapping before m when it belongs to the same block of vvar pages. */
static const struct map *vvar_before(const struct dump_task *t, const struct map *m)
{
	return m > t->maps && !strncmp(m[-1].name, "[vvar", 5) && m[-1].end_va == m->start_va ? m - 1 : NULL;
}

static int vvar_dump(struct dump_task *t, const struct map *m, VmaEntry *v)
{
	if (vvar_before(t, m))
		return 1;
	while (++m < t->maps + t->nmaps && !strncmp(m->name, "[vvar", 5) && m->start_va == v->end)
		v->end = m->end_va;
	v->status |= VMA_AREA_VVAR;
	return 0;
}

static int vdso_dump(struct dumping *d, struct dump_task *t, const struct map *m, VmaEntry *v)
{
	vma_fill(d->a, m, v);
	v->flags |= MAP_ANONYMOUS;
	v->pgoff = 0;
	v->status |= VMA_ANON_PRIVATE;
	if (m->name[2] == 'v')
		return vvar_dump(t, m, v);
	if (m->name[2] == 'd')
		v->status |= VMA_AREA_VDSO;
	else
		v->status = VMA_AREA_VSYSCALL | VMA_ANON_PRIVATE;
	return 0;
}

static bool vdso_owns(const VmaEntry *v)
{
	return v->status & (VMA_AREA_VDSO | VMA_AREA_VVAR | VMA_AREA_VSYSCALL);
}

static int vdso_map(struct restoring *r, const struct snap_task *t, const VmaEntry *v, uint32_t prot, struct prog *p)
{
	(void)r, (void)t, (void)v, (void)prot, (void)p;
	return 0;
}

const struct kind_mem kind_mem_vdso = {
	.name = "vdso",
	.match = vdso_match,
	.dump = vdso_dump,
	.owns = vdso_owns,
	.map = vdso_map,
};
