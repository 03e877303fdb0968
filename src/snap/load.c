/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images -> model: everything is read, then joined by PID and id.
 *
 * Refused here is only what cannot be joined (a missing image, two tasks with
 * one PID, a tree that is none); what can be joined and yet not be restored is
 * snap_check()'s. `thaw show` needs no more than this.
 *
 * The images of a zombie are its core alone. CRIU 4.2 writes garbage as its
 * thread list, so that is replaced by its PID.
 */
#include <inttypes.h>
#include <string.h>

#include "base/crew.h"
#include "snap/load.h"

static int inventory_load(struct snap *s, int dirfd)
{
	int r = img_read_one(dirfd, IMG_INVENTORY, 0, s->a, &s->inventory);

	if (r == -ENOENT)
		return err_say(ENOENT, "is not an image directory of CRIU or thaw: it has no inventory.img");
	if (r < 0)
		return r;
	if (s->inventory->has_pre_dump_mode && s->inventory->pre_dump_mode)
		return err_say(EINVAL, "is a pre-dump: it holds memory alone, for the dump that builds upon it");
	if (s->inventory->img_version != SNAP_VERSION && s->inventory->img_version != SNAP_VERSION_GPU)
		return err_say(ENOTSUP, "inventory.img: images of version %u are not supported, only version 2",
			       s->inventory->img_version);
	return 0;
}

/* Of which of these a directory has one, without a number. */
static bool is_list(enum img_id id)
{
	switch (id) {
	case IMG_INVENTORY:
	case IMG_PSTREE:
	case IMG_STATS_DUMP:
	case IMG_STATS_RESTORE:
	case IMG_IRMAP_CACHE:
		return false;
	default:
		return img_type(id)->desc && !strchr(img_type(id)->pattern, '%');
	}
}

static int list_load(struct snap *s, int dirfd, enum img_id id, uint32_t num)
{
	struct img_msgs all;
	int r = img_read_all(dirfd, id, num, s->a, &all);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (size_t i = 0; i < all.n; i++) {
		snap_add_payload(s, id, all.v[i].msg, all.v[i].payload, all.v[i].payload_len);
		s->list[id].v[s->list[id].n - 1].payload_off = all.v[i].payload_off;
	}
	return 0;
}

static int lists_load(struct snap *s, int dirfd)
{
	int r = 0;

	for (int id = 0; r >= 0 && id < IMG_COUNT; id++)
		if (is_list(id))
			r = list_load(s, dirfd, id, 0);
	return r;
}

/* The leader first, and alone where the image names no thread (older images, zombies). */
static void threads_order(struct arena *a, PstreeEntry *e, bool alone)
{
	uint32_t *v = arena_alloc(a, (e->n_threads + 1) * sizeof(*v));
	size_t n = 0;

	v[n++] = e->pid;
	for (size_t i = 0; !alone && i < e->n_threads; i++)
		if (e->threads[i] != e->pid)
			v[n++] = e->threads[i];
	e->threads = v;
	e->n_threads = n;
}

/* What is read by a crew: the tasks, then the other threads of all tasks. */
struct reading {
	struct snap *s;
	int dirfd;
	struct {
		struct snap_task *t;
		size_t k; /* which of its threads */
	} *thread;
	size_t nthreads;
};

static int leader_load(int dirfd, struct snap_task *t, struct arena *a)
{
	PstreeEntry *e = t->pst;
	CoreEntry *leader;
	int r = img_read_one(dirfd, IMG_CORE, e->pid, a, &leader);

	if (r < 0)
		return r;
	if (!leader->tc)
		return err_say(EINVAL, "core-%u.img: says nothing about its task (no tc)", e->pid);
	t->zombie = leader->tc->task_state == TASK_DEAD || leader->tc->task_state == TASK_ZOMBIE;
	threads_order(a, e, t->zombie);
	t->cores = arena_alloc(a, e->n_threads * sizeof(CoreEntry *));
	t->cores[0] = leader;
	t->ncores = e->n_threads;
	return 0;
}

static int fds_load(const struct snap *s, int dirfd, struct snap_task *t, struct arena *a)
{
	bool per_id = s->inventory->has_fdinfo_per_id && s->inventory->fdinfo_per_id;
	struct img_msgs all;
	int r = img_read_all(dirfd, IMG_FDINFO, per_id ? t->ids->files_id : t->pst->pid, a, &all);

	if (r < 0)
		return r;
	t->fds = arena_alloc(a, all.n * sizeof(FdinfoEntry *) + 1);
	for (; t->nfds < all.n; t->nfds++)
		t->fds[t->nfds] = (FdinfoEntry *)all.v[t->nfds].msg;
	return 0;
}

/* Older images have the ids in the core. */
static int ids_load(int dirfd, struct snap_task *t, struct arena *a)
{
	t->ids = t->cores[0]->ids;
	return t->ids ? 0 : img_read_one(dirfd, IMG_IDS, t->pst->pid, a, &t->ids);
}

static int task_load(void *ctx, size_t i, struct arena *a)
{
	const struct reading *w = ctx;
	struct snap_task *t = w->s->tasks[i];
	uint32_t pid = t->pst->pid;
	int dirfd = w->dirfd, r = leader_load(dirfd, t, a);

	if (r < 0 || t->zombie)
		return r;
	r = ids_load(dirfd, t, a);
	if (r >= 0)
		r = img_read_one(dirfd, IMG_MM, pid, a, &t->mm);
	if (r >= 0)
		r = img_read_one(dirfd, IMG_FS, pid, a, &t->fs);
	if (r >= 0)
		r = fds_load(w->s, dirfd, t, a);
	return r < 0 ? r : load_pages(a, dirfd, IMG_PAGEMAP, pid, &t->pages);
}

static int thread_load(void *ctx, size_t i, struct arena *a)
{
	const struct reading *w = ctx;
	struct snap_task *t = w->thread[i].t;
	size_t k = w->thread[i].k;

	return img_read_one(w->dirfd, IMG_CORE, t->pst->threads[k], a, &t->cores[k]);
}

static int threads_claim(struct reading *w, struct load_id **ids)
{
	size_t n = 0;

	for (size_t i = 0; i < w->s->ntasks; i++)
		n += w->s->tasks[i]->ncores;
	w->thread = arena_alloc(w->s->a, n * sizeof(*w->thread) + 1);
	for (size_t i = 0; i < w->s->ntasks; i++)
		for (size_t k = 1; k < w->s->tasks[i]->ncores; k++) {
			struct snap_task *t = w->s->tasks[i];
			int r = load_id_claim(w->s, ids, t->pst->threads[k], t);

			if (r < 0)
				return r;
			w->thread[w->nthreads].t = t;
			w->thread[w->nthreads++].k = k;
		}
	return 0;
}

static int tasks_load(struct snap *s, int dirfd, struct load_id **ids)
{
	struct reading w = { .s = s, .dirfd = dirfd };
	int r = crew_finish(crew_start(s->a, s->ntasks, task_load, &w));

	if (r >= 0)
		r = threads_claim(&w, ids);
	return r < 0 ? r : crew_finish(crew_start(s->a, w.nthreads, thread_load, &w));
}

/* An object without bytes may have no image. */
static int shmem_load(struct snap *s, int dirfd, uint64_t shmid, bool may_lack)
{
	struct snap_shmem *o;
	int r;

	if (snap_shmem(s, shmid))
		return 0;
	o = arena_alloc(s->a, sizeof(*o));
	o->shmid = shmid;
	r = load_pages(s->a, dirfd, IMG_PAGEMAP_SHMEM, shmid, &o->pages);
	if (r == -ENOENT && may_lack)
		return 0;
	if (r < 0)
		return r;
	arena_add(s->a, &s->shmem, &s->nshmem, o);
	return 0;
}

static int shmem_load_mapped(struct snap *s, int dirfd, const struct snap_task *t)
{
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int r = 0;

		if (v->status & VMA_ANON_SHARED && !(v->status & VMA_AREA_SYSVIPC))
			r = shmem_load(s, dirfd, v->shmid, false);
		if (r < 0)
			return r;
	}
	return 0;
}

static int shmem_load_all(struct snap *s, int dirfd)
{
	const struct img_msgs *memfd = &s->list[IMG_MEMFD];
	int r = 0;

	for (size_t i = 0; r >= 0 && i < memfd->n; i++) {
		const MemfdInodeEntry *e = (const MemfdInodeEntry *)memfd->v[i].msg;

		r = shmem_load(s, dirfd, e->shmid, !e->size);
	}
	for (size_t i = 0; r >= 0 && i < s->ntasks; i++)
		r = shmem_load_mapped(s, dirfd, s->tasks[i]);
	return r;
}

int snap_load(struct snap *s, int dirfd)
{
	struct load_id *ids = NULL;
	int r = inventory_load(s, dirfd);

	if (r >= 0)
		r = lists_load(s, dirfd);
	if (r >= 0)
		r = load_tree(s, dirfd, &ids);
	if (r >= 0)
		r = tasks_load(s, dirfd, &ids);
	if (r >= 0)
		r = list_load(s, dirfd, IMG_TIMENS, snap_timens(s));
	return r < 0 ? r : shmem_load_all(s, dirfd);
}
