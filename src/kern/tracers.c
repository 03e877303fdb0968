/* SPDX-License-Identifier: Apache-2.0 */
/* Several tracers (tracers.h). Helpers sleep between two runs: a tracer that exits lets its processes go. */
#include "kern/tracers.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

enum {
	CROWD = 32, /* fewer processes are one tracer's work */
	SHARE = 8,  /* as many make a helper worth its start */
};

struct hand {
	struct tracers *crew;
	struct arena *a;
	pthread_t thread;
	_Atomic pid_t tid;
	uint64_t seen; /* the run it did last */
	size_t processes;
	int err;
	char why[1024];
};

struct tracers {
	unsigned wanted; /* 0: as many as pay */
	size_t processes;
	struct hand hand[TRACERS_MAX];
	size_t n;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t begun, ended;
	crew_fn *fn;
	void *ctx;
	uint64_t round;
	size_t busy;
	bool over;
};

struct tracers *tracers_new(struct arena *a, unsigned hands)
{
	struct tracers *t = arena_alloc(a, sizeof(*t));

	t->wanted = hands;
	t->hand[0] = (struct hand){ .crew = t, .a = a, .tid = gettid() };
	t->n = 1;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->begun, NULL);
	pthread_cond_init(&t->ended, NULL);
	return t;
}

static void work(struct hand *h)
{
	struct tracers *t = h->crew;

	h->err = t->fn(t->ctx, (size_t)(h - t->hand), h->a);
	if (h->err < 0)
		snprintf(h->why, sizeof(h->why), "%s", err_text());
}

static void *help(void *arg)
{
	struct hand *h = arg;
	struct tracers *t = h->crew;

	atomic_store(&h->tid, gettid());
	pthread_mutex_lock(&t->lock);
	for (;;) {
		while (!t->over && t->round == h->seen)
			pthread_cond_wait(&t->begun, &t->lock);
		if (t->over)
			break;
		h->seen = t->round;
		pthread_mutex_unlock(&t->lock);
		work(h);
		pthread_mutex_lock(&t->lock);
		if (!--t->busy)
			pthread_cond_signal(&t->ended);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static size_t hands_for(const struct tracers *t)
{
	size_t most = t->processes / SHARE, cpus = 1;
	cpu_set_t set;

	if (t->wanted)
		return t->wanted < TRACERS_MAX ? t->wanted : TRACERS_MAX;
	if (t->processes < CROWD)
		return 1;
	if (!sched_getaffinity(0, sizeof(set), &set))
		cpus = (size_t)CPU_COUNT(&set);
	if (most > cpus)
		most = cpus;
	return most < TRACERS_MAX ? most : TRACERS_MAX;
}

void tracers_expect(struct tracers *t, size_t more)
{
	size_t most;
	sigset_t all, before;

	t->processes += more;
	most = hands_for(t);
	if (t->n >= most)
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; t->n < most; t->n++) {
		struct hand *h = &t->hand[t->n];

		*h = (struct hand){ .crew = t, .a = arena_new(), .seen = t->round };
		if (pthread_create(&h->thread, NULL, help, h)) {
			arena_free(h->a);
			break;
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

uint8_t tracers_choose(struct tracers *t)
{
	size_t least = 0;

	for (size_t i = 1; i < t->n; i++)
		if (t->hand[i].processes < t->hand[least].processes)
			least = i;
	t->hand[least].processes++;
	return (uint8_t)least;
}

int tracers_find(const struct tracers *t, pid_t tid)
{
	for (size_t i = 0; i < t->n; i++)
		if (atomic_load(&t->hand[i].tid) == tid)
			return (int)i;
	return -1;
}

static void run_all(struct tracers *t, crew_fn *fn, void *ctx)
{
	pthread_mutex_lock(&t->lock);
	t->fn = fn;
	t->ctx = ctx;
	t->busy = t->n - 1;
	t->round++;
	pthread_cond_broadcast(&t->begun);
	pthread_mutex_unlock(&t->lock);
	work(&t->hand[0]);
	pthread_mutex_lock(&t->lock);
	while (t->busy)
		pthread_cond_wait(&t->ended, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

int tracers_run(struct tracers *t, crew_fn *fn, void *ctx)
{
	if (t->n == 1)
		return fn(ctx, 0, t->hand[0].a);
	run_all(t, fn, ctx);
	for (size_t i = 0; i < t->n; i++)
		if (t->hand[i].err < 0)
			return err_adopt(-t->hand[i].err, t->hand[i].why);
	return 0;
}

struct pieces {
	crew_fn *fn;
	void *ctx;
	const uint8_t *hand;
	size_t n;
	atomic_bool failed;
	size_t at[TRACERS_MAX]; /* where each hand failed */
};

static int do_share(void *ctx, size_t me, struct arena *a)
{
	struct pieces *p = ctx;
	int err = 0;

	for (size_t i = 0; i < p->n && err >= 0 && !atomic_load_explicit(&p->failed, memory_order_relaxed); i++) {
		if (p->hand[i] != me)
			continue;
		err = p->fn(p->ctx, i, a);
		p->at[me] = i;
	}
	if (err < 0)
		atomic_store(&p->failed, true);
	return err;
}

int tracers_each(struct tracers *t, crew_fn *fn, void *ctx, const uint8_t *hand, size_t n)
{
	struct pieces p = { .fn = fn, .ctx = ctx, .hand = hand, .n = n };
	const struct hand *first = NULL;

	if (t->n == 1)
		return do_share(&p, 0, t->hand[0].a);
	run_all(t, do_share, &p);
	for (size_t i = 0; i < t->n; i++)
		if (t->hand[i].err < 0 && (!first || p.at[i] < p.at[first - t->hand]))
			first = &t->hand[i];
	return first ? err_adopt(-first->err, first->why) : 0;
}

void tracers_end(struct tracers *t)
{
	pthread_mutex_lock(&t->lock);
	t->over = true;
	pthread_cond_broadcast(&t->begun);
	pthread_mutex_unlock(&t->lock);
	while (t->n > 1) {
		struct hand *h = &t->hand[--t->n];

		pthread_join(h->thread, NULL);
		arena_adopt(t->hand[0].a, h->a);
	}
}
