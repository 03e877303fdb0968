/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc shows of all tasks and threads: status, mappings, namespaces. These are the slowest of all questions
 * (status: 30 us a thread, of which no other interface tells all; smaps: 6 us a mapping and a walk of its pages), so a
 * crew reads them while the engine, the only one who may, asks ptrace.
 */
#include "dump/dt.h"

struct sight { /* a task, or one of its threads */
	struct dtask *k;
	struct dump_thread *th; /* NULL: the task */
	enum maps_want want;
};

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

struct crew *outside_look(struct dump *d)
{
	size_t n = 0;
	struct sight *all = arena_alloc(d->kinds.a, (d->seized->n_tasks + d->seized->n_threads) * sizeof(*all));

	/* tasks first: their mappings are the longest pieces */
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		all[n++] = (struct sight){ .k = &d->tasks[i], .want = d->memory_only ? MAPS_PLAIN : MAPS_FLAGS };
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		for (size_t j = 1; j < d->kinds.tasks[i].nthreads; j++)
			all[n++] = (struct sight){ .k = &d->tasks[i], .th = &d->kinds.tasks[i].threads[j] };
	return crew_start(d->kinds.a, n, see, all);
}
