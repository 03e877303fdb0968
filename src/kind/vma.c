/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings (vma.h). The wire's flags are mmap()'s, and two of them are state that
 * mmap() itself does not set here: MAP_LOCKED and the advice in madv (bit n: MADV_n)
 * are put on when the memory is filled, or filling would be slowed or refused by them.
 */
#include "kind/vma.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

static const struct {
	enum map_flag flag;
	const char *what;
} refused[] = {
	{ MAP_VM_HT, "huge pages (hugetlb)" },
	{ MAP_VM_PF, "device memory" },
	{ MAP_VM_IO, "device memory" },
	{ MAP_VM_SF, "MAP_SYNC" },
	{ MAP_VM_UM, "userfaultfd" },
	/* what this user's own pre-dumps leave is not seen here any more (dump/track.h) */
	{ MAP_VM_UW, "userfaultfd that is not thaw's (or left by another user's pre-dump: end the process thaw-track)" },
	{ MAP_VM_UI, "userfaultfd" },
	{ MAP_VM_SS, "a shadow stack" },
	{ MAP_VM_SL, "a sealed mapping" },
	{ MAP_VM_PK, "a memory protection key" },
};

static const struct {
	enum map_flag flag;
	unsigned advice;
} advised[] = {
	{ MAP_VM_RR, MADV_RANDOM },      { MAP_VM_SR, MADV_SEQUENTIAL }, { MAP_VM_DC, MADV_DONTFORK },
	{ MAP_VM_MG, MADV_MERGEABLE },   { MAP_VM_HG, MADV_HUGEPAGE },   { MAP_VM_NH, MADV_NOHUGEPAGE },
	{ MAP_VM_DD, MADV_DONTDUMP },    { MAP_VM_WF, MADV_WIPEONFORK },
};

static bool has(const struct map *m, enum map_flag flag)
{
	return m->vm_flags & MAP_VM_BIT(flag);
}

/* What may only be executed has a key that the kernel gave it, and gives it again. */
static bool is_refused(const struct map *m, enum map_flag flag)
{
	return has(m, flag) && !(flag == MAP_VM_PK && m->prot == PROT_EXEC);
}

static bool kernels_own(const struct map *m)
{
	return m->name[0] == '[' && m->name[1] == 'v';
}

/* "[anon:NAME]" and "[anon_shmem:NAME]" -> NAME, else NULL. */
static char *name_given(struct arena *a, const struct map *m)
{
	const char *colon = strchr(m->name, ':');

	if (strncmp(m->name, "[anon", 5) != 0 || !colon)
		return NULL;
	return arena_printf(a, "%.*s", (int)strlen(colon) - 2, colon + 1);
}

void vma_fill(struct arena *a, const struct map *m, VmaEntry *v)
{
	v->flags = m->shared ? MAP_SHARED : MAP_PRIVATE;
	v->status = VMA_AREA_REGULAR;
	v->fd = -1;
	v->anon_name = name_given(a, m);
}

int vma_refuse(const struct map *m)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]) && !kernels_own(m); i++)
		if (is_refused(m, refused[i].flag))
			return err_say(ENOTSUP, "mapping %" PRIx64 "-%" PRIx64 " (%s): %s is not supported yet",
				       m->start_va, m->end_va, m->name[0] ? m->name : "anonymous", refused[i].what);
	return 0;
}

void vma_flags(const struct map *m, VmaEntry *v)
{
	if (has(m, MAP_VM_GD))
		v->flags |= MAP_GROWSDOWN;
	if (has(m, MAP_VM_LO))
		v->flags |= MAP_LOCKED;
	v->has_lock_on_fault = v->lock_on_fault = has(m, MAP_VM_LF);
	if (has(m, MAP_VM_NR))
		v->flags |= MAP_NORESERVE;
	if (has(m, MAP_VM_DP))
		v->flags |= MAP_DROPPABLE;
	v->madv = 0;
	for (size_t i = 0; i < sizeof(advised) / sizeof(advised[0]); i++)
		if (has(m, advised[i].flag))
			v->madv |= UINT64_C(1) << advised[i].advice;
	v->has_madv = v->madv != 0;
	if (v->has_fdflags && m->shared && has(m, MAP_VM_MW))
		v->fdflags = O_RDWR;
}

void vma_map(const VmaEntry *v, uint32_t prot, uint32_t type, int fd, struct prog *p)
{
	uint32_t flags = type | MAP_FIXED_NOREPLACE | (v->flags & (MAP_GROWSDOWN | MAP_NORESERVE));

	if (fd < 0)
		flags |= MAP_ANONYMOUS;
	prog_label(p, "@map");
	prog_sys(p, SYS_mmap, v->start, v->end - v->start, prot, flags, (uint64_t)(int64_t)fd, fd < 0 ? 0 : v->pgoff);
	if (v->anon_name)
		vma_name(v, v->start, v->end, p);
}

/* May be compiled out. */
void vma_name(const VmaEntry *v, uint64_t start, uint64_t end, struct prog *p)
{
	prog_label(p, "name %" PRIx64 "-%" PRIx64, start, end);
	prog_try(p, SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, end - start,
		 v->anon_name ? prog_data(p->space, v->anon_name, strlen(v->anon_name) + 1) : 0);
}
