/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model -> images (snap.h). Which messages there are was decided by whoever
 * added them; here is only which file each belongs into. All files are ordered first, then written side by side.
 *
 * seccomp.img and timens-0.img are written also when nobody added to them: CRIU
 * writes them for every tree and looks for them.
 */
#include <string.h>
#include <time.h>

#include "img/imgdir.h"
#include "snap/snap.h"

/* The files of an image, before any is written. */
struct orders {
	struct snap *s;
	struct imgdir_order *v;
	size_t n, cap;
};

static void order(struct orders *o, enum img_id id, uint64_t num, const struct img_msg *v, size_t n)
{
	if (o->n == o->cap) {
		size_t cap = o->cap ? 2 * o->cap : 64;
		struct imgdir_order *more = arena_alloc(o->s->a, cap * sizeof(*more));

		if (o->n)
			memcpy(more, o->v, o->n * sizeof(*more));
		o->v = more;
		o->cap = cap;
	}
	o->v[o->n++] = (struct imgdir_order){ id, num, v, n };
}

static void order_one(struct orders *o, enum img_id id, uint64_t num, ProtobufCMessage *msg)
{
	struct img_msg *v = arena_alloc(o->s->a, sizeof(*v));

	v->msg = msg;
	order(o, id, num, v, 1);
}

static void tree_save(struct orders *o)
{
	struct img_msg *v = arena_alloc(o->s->a, o->s->ntasks * sizeof(*v) + 1);

	for (size_t i = 0; i < o->s->ntasks; i++)
		v[i].msg = &o->s->tasks[i]->pst->base;
	order(o, IMG_PSTREE, 0, v, o->s->ntasks);
}

static void pages_save(struct orders *o, enum img_id id, uint64_t num, const struct snap_pages *p)
{
	struct img_msg *v = arena_alloc(o->s->a, (p->nruns + 1) * sizeof(*v));
	PagemapHead *head = arena_msg(o->s->a, pagemap_head, PagemapHead);

	head->pages_id = p->pages_id;
	head->has_compared_with = p->compared_with != 0;
	head->compared_with = p->compared_with;
	v[0].msg = &head->base;
	for (size_t i = 0; i < p->nruns; i++)
		v[i + 1].msg = &p->runs[i]->base;
	order(o, id, num, v, p->nruns + 1);
}

static void fds_save(struct orders *o, const struct snap_task *t)
{
	struct img_msg *v = arena_alloc(o->s->a, t->nfds * sizeof(*v) + 1);

	for (size_t i = 0; i < t->nfds; i++)
		v[i].msg = &t->fds[i]->base;
	order(o, IMG_FDINFO, t->ids->files_id, v, t->nfds);
}

static void threads_save(struct orders *o, const struct snap_task *t)
{
	for (size_t i = 1; i < t->ncores; i++)
		order_one(o, IMG_CORE, t->pst->threads[i], &t->cores[i]->base);
}

static void task_save(struct orders *o, const struct snap_task *t)
{
	uint32_t pid = t->pst->pid;

	if (t->ncores)
		order_one(o, IMG_CORE, pid, &t->cores[0]->base);
	if (!o->s->threads_saved)
		threads_save(o, t);
	if (t->zombie)
		return;
	order_one(o, IMG_IDS, pid, &t->ids->base);
	order_one(o, IMG_MM, pid, &t->mm->base);
	order_one(o, IMG_FS, pid, &t->fs->base);
	fds_save(o, t);
	pages_save(o, IMG_PAGEMAP, pid, &t->pages);
}

static Timespec *clock_now(struct snap *s, clockid_t clock)
{
	Timespec *e = arena_msg(s->a, timespec, Timespec);
	struct timespec now;

	clock_gettime(clock, &now);
	e->tv_sec = (uint64_t)now.tv_sec;
	e->tv_nsec = (uint64_t)now.tv_nsec;
	return e;
}

static void lists_complete(struct snap *s)
{
	TimensEntry *t;

	if (!s->list[IMG_SECCOMP].n)
		snap_add(s, IMG_SECCOMP, &arena_msg(s->a, seccomp_entry, SeccompEntry)->base);
	if (s->list[IMG_TIMENS].n)
		return;
	t = arena_msg(s->a, timens_entry, TimensEntry);
	t->monotonic = clock_now(s, CLOCK_MONOTONIC);
	t->boottime = clock_now(s, CLOCK_BOOTTIME);
	snap_add(s, IMG_TIMENS, &t->base);
}

int snap_save(struct snap *s, struct imgdir *dir)
{
	struct orders o = { .s = s };

	tree_save(&o);
	lists_complete(s);
	s->inventory->thaw_version = arena_strdup(s->a, THAW_VERSION);
	for (size_t i = 0; i < s->ntasks; i++)
		task_save(&o, s->tasks[i]);
	for (size_t i = 0; i < s->nshmem; i++)
		pages_save(&o, IMG_PAGEMAP_SHMEM, s->shmem[i]->shmid, &s->shmem[i]->pages);
	for (int id = 0; id < IMG_COUNT; id++)
		if (s->list[id].n)
			order(&o, id, id == IMG_TIMENS ? snap_timens(s) : 0, s->list[id].v, s->list[id].n);
	return imgdir_write_each(dir, o.v, o.n);
}

struct crew *snap_save_threads(struct snap *s, struct imgdir *dir)
{
	struct orders o = { .s = s };

	for (size_t i = 0; i < s->ntasks; i++)
		threads_save(&o, s->tasks[i]);
	s->threads_saved = true;
	return imgdir_write_begin(dir, o.v, o.n);
}

int snap_save_pages(struct snap *s, struct imgdir *dir)
{
	struct orders o = { .s = s };

	s->inventory->thaw_version = arena_strdup(s->a, THAW_VERSION);
	for (size_t i = 0; i < s->ntasks; i++)
		if (!s->tasks[i]->zombie)
			pages_save(&o, IMG_PAGEMAP, s->tasks[i]->pst->pid, &s->tasks[i]->pages);
	return imgdir_write_each(dir, o.v, o.n);
}
