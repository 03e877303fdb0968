/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Model -> images (snap.h). Which messages there are was decided by whoever
 * added them; here is only which file each belongs into.
 *
 * seccomp.img and timens-0.img are written also when nobody added to them: CRIU
 * writes them for every tree and looks for them.
 */
#include <string.h>
#include <time.h>

#include "img/imgdir.h"
#include "snap/snap.h"

static int messages_save(struct imgdir *dir, enum img_id id, uint64_t num, struct arena *a,
			 ProtobufCMessage *const *msg, size_t n)
{
	struct img_msg *v = arena_alloc(a, n * sizeof(*v) + 1);

	for (size_t i = 0; i < n; i++)
		v[i].msg = msg[i];
	return imgdir_write_all(dir, id, num, v, n);
}

static int tree_save(struct snap *s, struct imgdir *dir)
{
	ProtobufCMessage **msg = arena_alloc(s->a, s->ntasks * sizeof(*msg) + 1);

	for (size_t i = 0; i < s->ntasks; i++)
		msg[i] = &s->tasks[i]->pst->base;
	return messages_save(dir, IMG_PSTREE, 0, s->a, msg, s->ntasks);
}

static int pages_save(struct snap *s, struct imgdir *dir, enum img_id id, uint64_t num, const struct snap_pages *p)
{
	ProtobufCMessage **msg = arena_alloc(s->a, (p->nruns + 1) * sizeof(*msg));
	PagemapHead *head = arena_msg(s->a, pagemap_head, PagemapHead);

	head->pages_id = p->pages_id;
	head->has_compared_with = p->compared_with != 0;
	head->compared_with = p->compared_with;
	msg[0] = &head->base;
	for (size_t i = 0; i < p->nruns; i++)
		msg[i + 1] = &p->runs[i]->base;
	return messages_save(dir, id, num, s->a, msg, p->nruns + 1);
}

static int cores_save(const struct snap_task *t, struct imgdir *dir)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < t->ncores; i++)
		r = imgdir_write_one(dir, IMG_CORE, i ? t->pst->threads[i] : t->pst->pid, &t->cores[i]->base);
	return r;
}

static int fds_save(struct snap *s, const struct snap_task *t, struct imgdir *dir)
{
	ProtobufCMessage **msg = arena_alloc(s->a, t->nfds * sizeof(*msg) + 1);

	for (size_t i = 0; i < t->nfds; i++)
		msg[i] = &t->fds[i]->base;
	return messages_save(dir, IMG_FDINFO, t->ids->files_id, s->a, msg, t->nfds);
}

static int task_save(struct snap *s, const struct snap_task *t, struct imgdir *dir)
{
	uint32_t pid = t->pst->pid;
	int r = cores_save(t, dir);

	if (r < 0 || t->zombie)
		return r;
	r = imgdir_write_one(dir, IMG_IDS, pid, &t->ids->base);
	if (r >= 0)
		r = imgdir_write_one(dir, IMG_MM, pid, &t->mm->base);
	if (r >= 0)
		r = imgdir_write_one(dir, IMG_FS, pid, &t->fs->base);
	if (r >= 0)
		r = fds_save(s, t, dir);
	return r < 0 ? r : pages_save(s, dir, IMG_PAGEMAP, pid, &t->pages);
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
	int r = tree_save(s, dir);

	lists_complete(s);
	s->inventory->thaw_version = arena_strdup(s->a, THAW_VERSION);
	for (size_t i = 0; r >= 0 && i < s->ntasks; i++)
		r = task_save(s, s->tasks[i], dir);
	for (size_t i = 0; r >= 0 && i < s->nshmem; i++)
		r = pages_save(s, dir, IMG_PAGEMAP_SHMEM, s->shmem[i]->shmid, &s->shmem[i]->pages);
	for (int id = 0; r >= 0 && id < IMG_COUNT; id++)
		if (s->list[id].n)
			r = imgdir_write_all(dir, id, id == IMG_TIMENS ? snap_timens(s) : 0, s->list[id].v,
					     s->list[id].n);
	return r;
}

int snap_save_pages(struct snap *s, struct imgdir *dir)
{
	int r = 0;

	s->inventory->thaw_version = arena_strdup(s->a, THAW_VERSION);
	for (size_t i = 0; r >= 0 && i < s->ntasks; i++)
		if (!s->tasks[i]->zombie)
			r = pages_save(s, dir, IMG_PAGEMAP, s->tasks[i]->pst->pid, &s->tasks[i]->pages);
	return r;
}
