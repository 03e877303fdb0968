/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings and pages (check.h).
 *
 * The list of mappings holds two things: mappings, and ranges of guard pages
 * inside them. Each is sorted by address, the one independently of the other.
 *
 * A run of pages may go across the border of two mappings: writers join what is
 * adjacent. The size of a pages file is compared for equality with its page map: were
 * one run's length wrong, every later page would come from the wrong place. (Pages
 * that a parent's images hold are looked up in chain.c.)
 */
#include "snap/check.h"

#include <inttypes.h>
#include <sys/mman.h>

/* The end of user space with four-level page tables. */
static const uint64_t TOP = 0x7ffffffff000, VSYSCALL = 0xffffffffff600000;

static const uint32_t KNOWN_STATUS = (VMA_AREA_UPROBES << 1) - 1;
static const uint32_t BACKING = VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_SHARED | VMA_ANON_PRIVATE;

/* Advice that stays with a mapping; the rest of madvise() acts once, and on contents. */
#define ADVICE(name) (UINT64_C(1) << MADV_##name)
static const uint64_t LASTING_ADVICE = ADVICE(RANDOM) | ADVICE(SEQUENTIAL) | ADVICE(DONTFORK) | ADVICE(MERGEABLE) |
				       ADVICE(HUGEPAGE) | ADVICE(NOHUGEPAGE) | ADVICE(DONTDUMP) | ADVICE(WIPEONFORK);

static bool is_guard(const VmaEntry *v)
{
	return v->status & VMA_AREA_GUARD;
}

static int check_range(const VmaEntry *v, const VmaEntry *before)
{
	if (v->start >= v->end)
		return err_say(EINVAL, "ends before it starts");
	if ((v->start | v->end) % SNAP_PAGE || (!is_guard(v) && v->pgoff % SNAP_PAGE))
		return err_say(EINVAL, "is not made of whole pages");
	if (v->status & VMA_AREA_VSYSCALL ? v->start != VSYSCALL || v->end != VSYSCALL + SNAP_PAGE : v->end > TOP)
		return err_say(EINVAL, "is not within user space");
	if (before && v->start < before->end)
		return err_say(EINVAL, "is not behind the mapping before it, %" PRIx64 "-%" PRIx64, before->start,
			       before->end);
	return 0;
}

static const char *foreign_noun(uint32_t status)
{
	return status & VMA_AREA_AIORING ? "asynchronous I/O rings" :
	       status & VMA_AREA_SYSVIPC ? "SysV shared memory" :
	       status & VMA_AREA_SOCKET	 ? "rings of packet sockets" :
	       status & VMA_AREA_SHSTK	 ? "shadow stacks" :
	       status & VMA_AREA_UPROBES ? "uprobes" :
					   NULL;
}

static int check_nature(const VmaEntry *v)
{
	uint32_t backing = v->status & BACKING;

	if (v->status & ~KNOWN_STATUS)
		return err_say(ENOTSUP, "mappings of status 0x%x are not supported yet", v->status);
	if (foreign_noun(v->status))
		return err_say(ENOTSUP, "%s: not supported yet", foreign_noun(v->status));
	if (backing & (backing - 1))
		return err_say(EINVAL, "is said to be of several kinds at once (status 0x%x)", v->status);
	if (v->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return err_say(EINVAL, "protection 0x%x is none", v->prot);
	if (v->flags & MAP_HUGETLB)
		return err_say(ENOTSUP, "huge pages (hugetlb) are not supported yet");
	if (v->has_madv && v->madv & ~LASTING_ADVICE)
		return err_say(EINVAL, "advice 0x%" PRIx64 " is not of the kind that lasts", v->madv & ~LASTING_ADVICE);
	return 0;
}

static int check_backing(const struct snap *s, const VmaEntry *v)
{
	bool shared = v->status & (VMA_FILE_SHARED | VMA_ANON_SHARED);
	uint32_t type = v->flags & MAP_TYPE;

	if (v->status & BACKING && shared != (type == MAP_SHARED || type == MAP_SHARED_VALIDATE))
		return err_say(EINVAL, "is said to be %s with flags 0x%x", shared ? "shared" : "private", v->flags);
	if (v->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED))
		return check_file_id(s, v->shmid, "its file");
	return 0;
}

int check_mappings(const struct snap *s, const struct snap_task *t)
{
	const VmaEntry *before[2] = { NULL, NULL };

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int r = check_range(v, before[is_guard(v)]);

		if (r >= 0 && !is_guard(v))
			r = check_nature(v);
		if (r >= 0 && !is_guard(v))
			r = check_backing(s, v);
		if (r < 0)
			return err_ctx(r, "%s %" PRIx64 "-%" PRIx64, is_guard(v) ? "guard pages" : "mapping", v->start,
				       v->end);
		before[is_guard(v)] = v;
	}
	return 0;
}

/* ---- pages ----------------------------------------------------------------------------------- */

static int check_run(const PagemapEntry *e)
{
	if (e->flags & PE_PARENT && e->flags & PE_PRESENT)
		return err_say(EINVAL, "pages at %" PRIx64 " are said to be here and in a parent image", e->vaddr);
	if (!(e->flags & (PE_PRESENT | PE_PARENT)))
		return err_say(ENOTSUP, "pages that are kept elsewhere (lazy-pages) are not supported yet");
	if (e->vaddr % SNAP_PAGE || !e->nr_pages)
		return err_say(EINVAL, "%" PRIu64 " pages at %" PRIx64 " are no run of pages", e->nr_pages, e->vaddr);
	if (e->vaddr > TOP || e->nr_pages > (TOP - e->vaddr) / SNAP_PAGE)
		return err_say(EINVAL, "%" PRIu64 " pages at %" PRIx64 " are not within user space", e->nr_pages,
			       e->vaddr);
	return 0;
}

static uint64_t run_end(const PagemapEntry *e)
{
	return e->vaddr + e->nr_pages * SNAP_PAGE;
}

int check_pages(const struct snap_pages *p)
{
	uint64_t bytes, end = 0;

	for (size_t i = 0; i < p->nruns; i++) {
		int r = check_run(p->runs[i]);

		if (r < 0)
			return err_ctx(r, "page map of pages-%u.img", p->pages_id);
		if (p->runs[i]->vaddr < end)
			return err_say(EINVAL, "page map of pages-%u.img: the pages at %" PRIx64 " overlap others",
				       p->pages_id, p->runs[i]->vaddr);
		end = run_end(p->runs[i]);
	}
	bytes = snap_pages_bytes(p);
	if (bytes != p->file_len)
		return err_say(EINVAL, "pages-%u.img: has %" PRIu64 " bytes, its page map needs %" PRIu64, p->pages_id,
			       p->file_len, bytes);
	return 0;
}

/* May this mapping have contents of its own in the image? */
static bool holds_pages(const VmaEntry *v)
{
	return v->status & (VMA_ANON_PRIVATE | VMA_FILE_PRIVATE) && !(v->status & (VMA_AREA_VVAR | VMA_AREA_VSYSCALL));
}

static bool any(const VmaEntry *v)
{
	return !(v->status & VMA_AREA_VSYSCALL);
}

/* Whether mappings that pass `fit` cover [start, end). *at: where to begin to look, for ascending ranges. */
static bool is_covered(const MmEntry *mm, bool (*fit)(const VmaEntry *), size_t *at, uint64_t start, uint64_t end)
{
	for (size_t i = *at; i < mm->n_vmas && start < end; i++) {
		const VmaEntry *v = mm->vmas[i];

		if (is_guard(v))
			continue;
		if (v->end <= start) {
			*at = i + 1;
			continue;
		}
		if (v->start > start || !fit(v))
			return false;
		start = v->end;
	}
	return start >= end;
}

int check_pages_mapped(const struct snap_task *t)
{
	size_t at = 0;

	for (size_t i = 0; i < t->pages.nruns; i++) {
		const PagemapEntry *e = t->pages.runs[i];

		if (!is_covered(t->mm, holds_pages, &at, e->vaddr, run_end(e)))
			return err_say(EINVAL, "page map of pages-%u.img: %" PRIx64 "-%" PRIx64
				       " is not within private mappings", t->pages.pages_id, e->vaddr, run_end(e));
	}
	at = 0;
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (is_guard(v) && !is_covered(t->mm, any, &at, v->start, v->end))
			return err_say(EINVAL, "guard pages %" PRIx64 "-%" PRIx64 ": are not within mappings", v->start,
				       v->end);
	}
	return 0;
}

/* Objects without an inode in memfd.img (older images) are as large as they are mapped. */
int check_shmem(const struct snap *s, const struct snap_shmem *o)
{
	const struct img_msgs *memfd = &s->list[IMG_MEMFD];
	int r = check_pages(&o->pages);
	uint64_t end = o->pages.nruns ? run_end(o->pages.runs[o->pages.nruns - 1]) : 0;

	for (size_t i = 0; r >= 0 && i < memfd->n; i++) {
		const MemfdInodeEntry *e = (const MemfdInodeEntry *)memfd->v[i].msg;

		if (e->shmid == o->shmid && end > SNAP_PAGE && end - SNAP_PAGE >= e->size)
			return err_say(EINVAL, "pages-%u.img: has pages up to %" PRIu64 ", the object has %" PRIu64
				       " bytes", o->pages.pages_id, end, e->size);
	}
	return r;
}
