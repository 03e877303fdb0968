/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be done to every thread, or to every task, by whoever traces it (kern/tracers.h).
 *
 * For the pieces this means: they may ptrace their thread (or their task's leader), they write to nothing but what is
 * that thread's or task's own, and they allocate from their hand's arena. All of a process is in one hand, since ptrace
 * takes locks that its threads share: what needs no ptrace is left to crews.
 */
#include "dump/dt.h"

struct errand {
	struct dump *d;
	hand_thread_fn *thread;
	hand_task_fn *task;
};

void hands_list(struct dump *d)
{
	struct hands *h = &d->hands;
	size_t n = 0;

	for (size_t i = 0; i < d->kinds.ntasks; i++)
		n += d->kinds.tasks[i].nthreads;
	h->thread = arena_alloc(d->kinds.a, n * sizeof(struct dthread *));
	h->of_thread = arena_alloc(d->kinds.a, n);
	h->of_task = arena_alloc(d->kinds.a, d->kinds.ntasks);
	for (size_t i = 0; i < d->kinds.ntasks; i++) {
		struct dtask *k = &d->tasks[i];

		h->of_task[i] = k->threads[0].hand;
		for (size_t j = 0; j < k->t->nthreads; j++) {
			h->of_thread[h->n_threads] = k->threads[j].hand;
			h->thread[h->n_threads++] = &k->threads[j];
		}
	}
	h->n_tasks = d->kinds.ntasks;
}

static int run_thread(void *ctx, size_t i, struct arena *a)
{
	const struct errand *e = ctx;
	struct dthread *th = e->d->hands.thread[i];

	return err_ctx(e->thread(e->d, th, a), "task %d (%s)", th->task->t->pid, th->task->t->stat.comm);
}

static int run_task(void *ctx, size_t i, struct arena *a)
{
	const struct errand *e = ctx;
	struct dtask *k = &e->d->tasks[i];

	return err_ctx(e->task(e->d, k, a), "task %d (%s)", k->t->pid, k->t->stat.comm);
}

int hands_threads(struct dump *d, hand_thread_fn *fn)
{
	struct errand e = { .d = d, .thread = fn };

	return seize_run(d->seized, run_thread, &e, d->hands.of_thread, d->hands.n_threads);
}

int hands_tasks(struct dump *d, hand_task_fn *fn)
{
	struct errand e = { .d = d, .task = fn };

	return seize_run(d->seized, run_task, &e, d->hands.of_task, d->hands.n_tasks);
}

struct crew *hands_crew(struct dump *d, hand_thread_fn *fn)
{
	struct errand *e = arena_alloc(d->kinds.a, sizeof(*e));

	*e = (struct errand){ .d = d, .thread = fn };
	return crew_start(d->kinds.a, d->hands.n_threads, run_thread, e);
}
