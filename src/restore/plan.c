/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw plan: the stages of a restore up to the first that would touch the
 * outside, then a print of what they decided. With --pie also the programs,
 * for which descriptors get stand-in numbers, since none is opened.
 */
#include "restore/plan.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/progress.h"
#include "base/stage.h"
#include "base/text.h"
#include "page/chunk.h"
#include "restore/heritage.h"

static void print_size(const char *what, uint64_t bytes)
{
	char text[32];

	printf("%-28s%s\n", what, progress_bytes(text, sizeof(text), bytes));
}

static const char *role(const struct rtask *k)
{
	return k->role == RTASK_ZOMBIE ? "zombie" : k->role == RTASK_HELPER ? "stand-in for a dead leader, leaves again" : snap_comm(k->t);
}

static void print_task(const struct restore *r, const struct rtask *k, int depth)
{
	char text[32], what[64];

	snprintf(what, sizeof(what), "%s", role(k));
	printf("  %*s%d %s", depth * 2, "", k->pid, text_tame(what));
	if (k->sid == k->pid)
		printf(", new session");
	else if (k->pgid == k->pid)
		printf(", new group");
	if (k->by_sibling)
		printf(", child of %d", k->parent ? k->parent->pid : 0);
	if (k->role == RTASK_ALIVE) {
		uint64_t bytes = fill_bytes(k);
		uint32_t workers = fill_workers(r, bytes);

		printf(": %zu threads, %zu mappings, %zu descriptors, ", k->t->ncores, k->t->mm ? k->t->mm->n_vmas : 0, k->t->nfds);
		if (workers)
			printf("%u to %u workers fill %s", fill_share(r, bytes), workers, progress_bytes(text, sizeof(text), bytes));
		else
			printf("the task itself fills %s", progress_bytes(text, sizeof(text), bytes));
		if (k->heritage && k->heritage->same_bytes)
			printf(", shares %s with %d", progress_bytes(text, sizeof(text), k->heritage->same_bytes),
			       k->heritage->from->pid);
		if (k->heritage && k->heritage->compare_bytes)
			printf(", may share %s with %d",
			       progress_bytes(text, sizeof(text), k->heritage->compare_bytes), k->heritage->from->pid);
	}
	printf("\n");
	for (size_t i = 0; i < k->nearly; i++)
		print_task(r, k->early[i], depth + 1);
	for (size_t i = 0; i < k->nlate; i++)
		print_task(r, k->late[i], depth + 1);
}

static void print_plan(const struct restore *r)
{
	printf("1. open %zu files, %zu shared memory objects\n", r->snap->list[IMG_FILES].n, r->snap->nshmem);
	printf("2. create %zu tasks, each by the one it is indented under:\n", r->tree.n);
	print_task(r, r->tree.tasks[0], 0);
	printf("3. fill memory, %s:\n", r->workers ? "in parallel" : "serially");
	print_size("     private, in the tasks", r->fill_bytes);
	print_size("     shared, by the engine", r->shmem_bytes);
	printf("%-28s%u\n", "     page workers", r->workers);
	printf("4. place descriptors, create %zu threads, restore what each task is\n", r->tree.nthreads);
	printf("5. release all %zu threads at once\n", r->tree.nthreads);
	printf("   (programs run at %" PRIx64 "-%" PRIx64 ", free in every task)\n", r->lay.hole_va, r->lay.end_va);
}

static const struct stage stages[] = {
	{ "load", restore_stage_load, NULL, NULL },
	{ "plan", restore_stage_plan, NULL, NULL },
};

int plan_run(const struct opts *o)
{
	struct restore *r = restore_new(o);
	int err;

	r->plan_only = r->files.stand_in = true;
	err = stage_run_all(stages, ARRAY_LEN(stages), r);
	if (err < 0)
		return err;
	print_plan(r);
	if (!o->pie)
		return 0;
	err = restore_stage_assemble(r);
	if (err < 0)
		return err;
	printf("\nprogram of task %d:\n", r->tree.tasks[0]->pid);
	prog_print(&r->space, r->tree.tasks[0]->start_va, 2);
	return 0;
}
