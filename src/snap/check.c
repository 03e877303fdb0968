/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a restore may rely on: after snap_check() every id resolves, every range
 * is sane and every page has its bytes, so nobody behind it asks again.
 *
 * Images are untrusted: a bit that tips over must end here with a sentence, not
 * in a half-made process. So sums are compared for equality where the format
 * gives two ways to get them. What is sound but not built is refused as such
 * (-ENOTSUP), before anything is created. Whether a kind of file can be
 * restored is asked by the kinds themselves.
 */
#include "snap/check.h"

#include <stdlib.h>
#include <string.h>

static int check_inventory(const struct snap *s)
{
	const PluginsEntry *p = s->inventory->plugins_entry;

	for (size_t i = 0; p && i < p->n_plugins; i++)
		if (strcmp(p->plugins[i], SNAP_CUDA_PLUGIN))
			return err_say(ENOTSUP, "inventory.img: the image needs the plugin %s, which is not supported yet",
				       p->plugins[i]);
	return 0;
}

static int check_seccomp(const struct snap *s)
{
	const struct img_msgs *l = &s->list[IMG_SECCOMP];

	for (size_t i = 0; i < l->n; i++)
		if (((const SeccompEntry *)l->v[i].msg)->n_seccomp_filters)
			return err_say(ENOTSUP, "seccomp.img: seccomp filters are not supported yet");
	return 0;
}

static int check_living(const struct snap *s, const struct snap_task *t)
{
	int r = check_mappings(s, t);

	if (r >= 0)
		r = check_pages(&t->pages);
	if (r >= 0)
		r = check_pages_mapped(t);
	if (r >= 0)
		r = check_file_id(s, t->mm->exe_file_id, "program file");
	if (r >= 0)
		r = check_file_id(s, t->fs->cwd_id, "working directory");
	if (r >= 0)
		r = check_file_id(s, t->fs->root_id, "root directory");
	return r < 0 ? r : check_descriptors(s, t);
}

static int check_tasks(const struct snap *s)
{
	int r = 0;

	for (size_t i = 0; r >= 0 && i < s->ntasks; i++) {
		const struct snap_task *t = s->tasks[i];

		r = check_task(t);
		if (r >= 0 && !t->zombie)
			r = check_living(s, t);
		err_ctx(r, "task %u (%s)", t->pst->pid, snap_comm(t));
	}
	return r;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* A file with two page maps would give both the same bytes. */
static int check_pages_ids(const struct snap *s)
{
	uint32_t *ids = arena_alloc(s->a, (s->ntasks + s->nshmem + 1) * sizeof(*ids));
	size_t n = 0;

	for (size_t i = 0; i < s->ntasks; i++)
		if (s->tasks[i]->pages.nruns)
			ids[n++] = s->tasks[i]->pages.pages_id;
	for (size_t i = 0; i < s->nshmem; i++)
		if (s->shmem[i]->pages.nruns)
			ids[n++] = s->shmem[i]->pages.pages_id;
	qsort(ids, n, sizeof(*ids), by_number);
	for (size_t i = 1; i < n; i++)
		if (ids[i] == ids[i - 1])
			return err_say(EINVAL, "pages-%u.img: two page maps claim it", ids[i]);
	return 0;
}

int snap_check(const struct snap *s)
{
	int r = check_inventory(s);

	if (r >= 0)
		r = check_seccomp(s);
	if (r >= 0)
		r = check_files(s);
	if (r >= 0)
		r = check_tasks(s);
	if (r >= 0)
		r = check_share(s);
	for (size_t i = 0; r >= 0 && i < s->nshmem; i++)
		r = err_ctx(check_shmem(s, s->shmem[i]), "shared memory %lu", s->shmem[i]->shmid);
	return r < 0 ? r : check_pages_ids(s);
}
