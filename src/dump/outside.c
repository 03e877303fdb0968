/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc shows of all tasks and threads: status, mappings, namespaces. These are the slowest of all questions
 * (status: 30 us a thread, of which no other interface tells all; smaps: 6 us a mapping and a walk of its pages), so a
 * crew reads them while the engine, the only one who may, asks ptrace.
 *
 * A process of a thousand threads has two thousand mappings, and one file tells of them all: nobody can help its
 * reader. But nobody needs their flags (locks, advice) before the mappings themselves are dumped, and these are what is
 * slow about smaps. So where there are CPUs to spare they are read beside whatever comes in between. Where there are
 * none (two CPUs), that only makes the others slower.
 */
#include "dump/dt.h"
#include "kern/cpus.h"

enum { CROWD = 64 /* threads of a task from which its flags are read later */, SPARE_CPUS = 4 };

struct sight { /* a task, or one of its threads */
	struct dtask *k;
	struct dump_thread *th; /* NULL: the task */
	enum maps_want want;
};

static bool flags_later(const struct dump *d, const struct dump_task *t)
{
	/* what tracks memory wants the flags at once; a pre-dump without that does without them */
	return !d->memory_only && !d->tracks && t->nthreads >= CROWD && cpus_usable() >= SPARE_CPUS;
}

/* Runs beside the next stages; the blob's mapping, which comes and goes meanwhile, is none of those listed. */
static int see_flags(void *ctx, size_t i, struct arena *a)
{
	const struct dump *d = ctx;
	const struct dump_task *t = &d->kinds.tasks[i];

	(void)a;
	if (!d->tasks[i].flags_later)
		return 0;
	return err_ctx(maps_flags(t->proc_fd, t->maps, t->nmaps), "task %d (%s)", t->pid, t->stat.comm);
}

/* A mapping with VmFlags costs a walk of its page tables; all are needed (locks, advice), but by a pre-dump. */
static int see_task(struct dtask *k, enum maps_want want, struct arena *a)
{
	struct dump_task *t = k->t;
	int err = proc_status_read(t->proc_fd, 0, a, &t->status);

	t->threads[0].status = t->status; /* its file says the same again */
	if (err >= 0)
		err = maps_read(t->proc_fd, want, a, &t->maps, &t->nmaps);
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
		err = see_task(s->k, s->want, a);
	return err_ctx(err, "task %d (%s)", t->pid, t->stat.comm);
}

static enum maps_want wanted(const struct dump *d, const struct dtask *k)
{
	return d->memory_only || k->flags_later ? MAPS_PLAIN : MAPS_FLAGS;
}

int outside_look_again(struct dump *d, struct dtask *k, struct arena *a)
{
	int err = see_task(k, wanted(d, k), a);

	for (size_t i = 1; err >= 0 && i < k->t->nthreads; i++)
		err = proc_status_read(k->t->proc_fd, k->t->threads[i].tid, a, &k->t->threads[i].status);
	return err;
}

struct crew *outside_look(struct dump *d)
{
	size_t n = 0;
	struct sight *all = arena_alloc(d->kinds.a, (d->seized->n_tasks + d->seized->n_threads) * sizeof(*all));

	/* tasks first: their mappings are the longest pieces */
	for (size_t i = 0; i < d->kinds.ntasks; i++) {
		struct dtask *k = &d->tasks[i];

		k->flags_later = flags_later(d, k->t);
		all[n++] = (struct sight){ .k = k, .want = wanted(d, k) };
	}
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		for (size_t j = 1; j < d->kinds.tasks[i].nthreads; j++)
			all[n++] = (struct sight){ .k = &d->tasks[i], .th = &d->kinds.tasks[i].threads[j] };
	return crew_start(d->kinds.a, n, see, all);
}

void outside_look_on(struct dump *d)
{
	size_t later = 0;

	for (size_t i = 0; i < d->kinds.ntasks; i++)
		later += d->tasks[i].flags_later ? d->tasks[i].t->nthreads : 0;
	if (later)
		d->flags_crew = crew_start_large(d->kinds.a, d->kinds.ntasks, later, see_flags, d);
}

int outside_seen(struct dump *d)
{
	struct crew *crew = d->flags_crew;

	d->flags_crew = NULL;
	return crew ? crew_finish(crew) : 0;
}

void outside_cancel(struct dump *d)
{
	if (d->flags_crew)
		crew_cancel(d->flags_crew);
	d->flags_crew = NULL;
}
