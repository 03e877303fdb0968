/* SPDX-License-Identifier: Apache-2.0 */
/* The vdso of a restored task (vdso_place.h). Planned in the engine; the moving happens in the blob. */
#include "restore/vdso_place.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"

static int read_extent(struct restore *r, const struct snap_source *from, uint64_t off, void *buf, uint64_t len)
{
	const struct imgdir *dir = imgdir_at(r->dir, from->depth);
	auto_close int fd = img_open(dir->dirfd, IMG_PAGES, from->pages_id);
	ssize_t n = fd < 0 ? fd : io_pread(fd, buf, len, off);

	if (fd < 0 || n == (ssize_t)len)
		return fd < 0 ? fd : 0;
	if (n < 0)
		return err_set((int)-n, "pages-%u.img: read at offset %lu", from->pages_id, off);
	return err_say(ENODATA, "pages-%u.img: too short for the pages at offset %lu", from->pages_id, off);
}

/* Reads [va, va + len) of a task out of its pages files; bytes that the images do not have stay zero. */
static int read_pages(struct restore *r, const struct snap_task *t, uint64_t va, void *buf, uint64_t len)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < t->pages.nextents; i++) {
		const struct snap_extent *e = &t->pages.extents[i];
		uint64_t from = e->va > va ? e->va : va, to = e->va + e->len < va + len ? e->va + e->len : va + len;

		if (from < to)
			err = read_extent(r, &t->pages.sources[e->source], e->off + (from - e->va),
					  (char *)buf + (from - va), to - from);
	}
	return err;
}

static const VmaEntry *find_vma(const struct snap_task *t, uint32_t status)
{
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->status & status)
			return t->mm->vmas[i];
	return NULL;
}

static uint64_t data_before(const struct snap_task *t, const VmaEntry *vdso)
{
	const VmaEntry *vvar = find_vma(t, VMA_AREA_VVAR);

	return vvar && vvar->start <= vdso->start ? vdso->start - vvar->start : 0;
}

static int plan_task(struct restore *r, const struct snap_task *t, struct rvdso *v)
{
	const struct layout *l = &r->lay;
	uint64_t run_data = l->vdso_va - l->vdso_block_va, len, room;
	uint8_t *code;
	int err;

	v->vdso = find_vma(t, VMA_AREA_VDSO);
	if (!v->vdso || !l->vdso_va)
		return 0;
	len = v->vdso->end - v->vdso->start;
	if (len > (1 << 20))
		return err_say(EINVAL, "the image's vdso is %lu bytes long", len);
	code = arena_alloc(r->kinds.a, len);
	err = read_pages(r, t, v->vdso->start, code, len);
	if (err < 0)
		return err;
	room = layout_gap(l, t, l->vdso_block_len);
	if (!room)
		return err_say(ENOMEM, "no free addresses for the running kernel's vdso");
	err = vdso_plan(r->kinds.a, code, len, v->vdso->start, data_before(t, v->vdso), (const void *)l->vdso_va,
			l->vdso_len, room + run_data, run_data, &v->plan);
	if (err < 0)
		return err;
	v->move_va = v->plan.keep ? v->vdso->start - run_data : room;
	if (!v->plan.keep)
		log_info("task %u: the image's vdso is another kernel's, it is bridged to the running one at %lx",
			 t->pst->pid, v->move_va);
	return 0;
}

int vdso_place_plan(struct restore *r)
{
	r->vdso = arena_alloc(r->kinds.a, r->snap->ntasks * sizeof(*r->vdso));
	for (size_t i = 0; i < r->snap->ntasks; i++) {
		const struct snap_task *t = r->snap->tasks[i];
		int err = err_ctx(plan_task(r, t, &r->vdso[i]), "task %u (%s)", t->pst->pid, snap_comm(t));

		if (err < 0)
			return err;
	}
	return 0;
}

void vdso_place_emit_map(struct restore *r, const struct snap_task *t, struct prog *p)
{
	const struct rvdso *v = &r->vdso[t->index];

	if (!v->vdso || v->plan.keep)
		return;
	prog_label(p, "map the image's vdso at %lx", v->vdso->start);
	prog_sys(p, SYS_mmap, v->vdso->start, v->vdso->end - v->vdso->start, PROT_READ | PROT_WRITE | PROT_EXEC,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
}

void vdso_place_emit_move(struct restore *r, const struct snap_task *t, struct prog *p)
{
	const struct rvdso *v = &r->vdso[t->index];

	for (size_t i = 0; i < v->plan.npatches; i++)
		prog_do(p, OP_COPY, v->plan.patches[i].va,
			prog_data(&r->space, v->plan.patches[i].bytes, VDSO_PATCH_LEN), VDSO_PATCH_LEN);
	if (v->vdso && !v->plan.keep)
		prog_sys(p, SYS_mprotect, v->vdso->start, v->vdso->end - v->vdso->start, v->vdso->prot);
	if (!v->move_va)
		return;
	prog_label(p, "move the vdso to %lx", v->move_va);
	for (size_t i = 0; i < r->lay.npieces; i++) {
		const struct layout_piece *k = &r->lay.piece[i];

		prog_sys(p, SYS_mremap, r->lay.park_va + k->off, k->len, k->len, MREMAP_MAYMOVE | MREMAP_FIXED,
			 v->move_va + k->off);
	}
}

uint64_t vdso_place_va(const struct restore *r, const struct snap_task *t)
{
	uint64_t move_va = r->vdso[t->index].move_va;

	return move_va ? move_va + (r->lay.vdso_va - r->lay.vdso_block_va) : 0;
}
