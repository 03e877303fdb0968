/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc shows of all tasks and threads: status, mappings, namespaces. These are the slowest of all questions
 * (status: 30 us a thread, of which no other interface tells all; smaps: 6 us a mapping and a walk of its pages), so a
 * crew reads them while the engine, the only one who may, asks ptrace.
 *
 * The flags of mappings (locks, advice) are what is slow about smaps: one file tells of them all, so nobody can help
 * its reader. But little depends on them, and so they may come later:
 * - of a task with much memory, where the walk of its pages takes long, beside the copying of these pages. Not
 *   earlier: the walk holds the lock that the blob would need to be mapped;
 * - of a task with many threads, which has two mappings for each, beside the questions, where there are CPUs to spare.
 *   Where there are none (two CPUs), that only makes the others slower.
 */
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "dump/dt.h"
#include "kern/cpus.h"

enum { CROWD = 64 /* threads */, SPARE_CPUS = 4, MUCH_KB = 64 << 10 };

struct sight { /* a task, or one of its threads */
	const struct dump *d;
	struct dtask *k;
	struct dump_thread *th; /* NULL: the task */
};

/* Whether the kernel has found equal pages (KSM). Then the flags have to be there before pages are read. */
static bool pages_merged(void)
{
	auto_free char *text = NULL;

	return io_slurp(AT_FDCWD, "/sys/kernel/mm/ksm/pages_shared", &text) > 0 && strcmp(text, "0\n") != 0;
}

static enum flags flags_when(const struct dump *d, const struct dump_task *t)
{
	if (d->tracks || d->memory_only) /* what tracks memory wants them at once; a pre-dump alone does without them */
		return FLAGS_READ;
	if (t->status.vm_rss_kb >= MUCH_KB && !pages_merged())
		return FLAGS_BESIDE_PAGES;
	return t->nthreads >= CROWD && cpus_usable() >= SPARE_CPUS ? FLAGS_BESIDE_QUESTIONS : FLAGS_READ;
}

/* The blob's mapping, which comes and goes meanwhile, is none of those listed. */
static int see_flags(void *ctx, size_t i, struct arena *a)
{
	const struct dump *d = ctx;
	const struct dump_task *t = &d->kinds.tasks[i];

	(void)a;
	if (d->tasks[i].flags != d->flags_now)
		return 0;
	return err_ctx(maps_flags(t->proc_fd, t->maps, t->nmaps), "task %d (%s)", t->pid, t->stat.comm);
}

static int see_task(const struct dump *d, struct dtask *k, struct arena *a)
{
	struct dump_task *t = k->t;
	int err = proc_status_read(t->proc_fd, 0, a, &t->status);
	bool plain;

	t->threads[0].status = t->status; /* its file says the same again */
	k->flags = flags_when(d, t);
	plain = d->memory_only || k->flags != FLAGS_READ;
	if (err >= 0)
		err = maps_read(t->proc_fd, plain ? MAPS_PLAIN : MAPS_FLAGS, a, &t->maps, &t->nmaps);
	return err < 0 ? err : proc_namespaces(t->proc_fd, 0, k->ns);
}

static int see(void *ctx, size_t i, struct arena *a)
{
	const struct sight *s = (const struct sight *)ctx + i;
	const struct dump_task *t = s->k->t;
	int err;

	if (s->th)
		err = err_ctx(proc_status_read(t->proc_fd, s->th->tid, a, &s->th->status), "thread %d", s->th->tid);
	else
		err = see_task(s->d, s->k, a);
	return err_ctx(err, "task %d (%s)", t->pid, t->stat.comm);
}

int outside_look_again(struct dump *d, struct dtask *k, struct arena *a)
{
	int err = see_task(d, k, a);

	for (size_t i = 1; err >= 0 && i < k->t->nthreads; i++)
		err = proc_status_read(k->t->proc_fd, k->t->threads[i].tid, a, &k->t->threads[i].status);
	return err;
}

struct crew *outside_look(struct dump *d)
{
	size_t n = 0;
	struct sight *all = arena_alloc(d->kinds.a, (d->seized->n_tasks + d->seized->n_threads) * sizeof(*all));

	/* tasks first: their mappings are the longest pieces */
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		all[n++] = (struct sight){ d, &d->tasks[i], NULL };
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		for (size_t j = 1; j < d->kinds.tasks[i].nthreads; j++)
			all[n++] = (struct sight){ d, &d->tasks[i], &d->kinds.tasks[i].threads[j] };
	return crew_start(d->kinds.a, n, see, all);
}

int outside_look_on(struct dump *d, enum flags when)
{
	int err = outside_seen(d);
	size_t n = 0;

	for (size_t i = 0; i < d->kinds.ntasks; i++)
		n += d->tasks[i].flags == when;
	if (err < 0 || !n)
		return err;
	d->flags_now = when;
	d->flags_crew = crew_start_large(d->kinds.a, d->kinds.ntasks, n * CROWD, see_flags, d);
	return 0;
}

int outside_seen(struct dump *d)
{
	struct crew *crew = d->flags_crew;
	int err = crew ? crew_finish(crew) : 0;

	for (size_t i = 0; crew && i < d->kinds.ntasks; i++)
		if (d->tasks[i].flags == d->flags_now)
			d->tasks[i].flags = FLAGS_READ;
	d->flags_crew = NULL;
	return err;
}

int outside_see_all(struct dump *d)
{
	int err = outside_look_on(d, FLAGS_BESIDE_PAGES);

	return err < 0 ? err : outside_seen(d);
}

void outside_cancel(struct dump *d)
{
	if (d->flags_crew)
		crew_cancel(d->flags_crew);
	d->flags_crew = NULL;
}
