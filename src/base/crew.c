/* SPDX-License-Identifier: Apache-2.0 */
/* A crew of threads (crew.h). Pieces are taken from one counter, so all before one that failed have been taken, too. */
#include "base/crew.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HELPERS_MAX = 7, PIECES_EACH = 32 /* less work than that is done before a helper is there */ };

struct helper {
	struct crew *crew;
	struct arena *a;
	pthread_t thread;
	_Atomic pid_t tid;
};

struct crew {
	struct arena *a;
	crew_fn *fn;
	void *ctx;
	size_t n;
	_Atomic size_t next;
	struct helper helper[HELPERS_MAX];
	size_t nhelpers;
	pthread_mutex_t lock; /* guards what follows */
	int err;
	size_t failed;
	char why[1024];
};

static void note_failure(struct crew *c, size_t i, int err)
{
	atomic_store(&c->next, c->n);
	pthread_mutex_lock(&c->lock);
	if (!c->err || i < c->failed) {
		c->err = err;
		c->failed = i;
		snprintf(c->why, sizeof(c->why), "%s", err_text());
	}
	pthread_mutex_unlock(&c->lock);
}

static void work(struct crew *c, struct arena *a)
{
	size_t i;

	while ((i = atomic_fetch_add(&c->next, 1)) < c->n) {
		int err = c->fn(c->ctx, i, a);

		if (err < 0)
			note_failure(c, i, err);
	}
}

static void *help(void *arg)
{
	struct helper *h = arg;

	atomic_store(&h->tid, gettid());
	work(h->crew, h->a);
	return NULL;
}

static size_t helpers_for(size_t n, size_t weight)
{
	cpu_set_t set;
	size_t most = weight / PIECES_EACH < n ? weight / PIECES_EACH : n, cpus = 1;

	if (!sched_getaffinity(0, sizeof(set), &set))
		cpus = (size_t)CPU_COUNT(&set);
	if (most > cpus - 1)
		most = cpus - 1;
	return most < HELPERS_MAX ? most : HELPERS_MAX;
}

struct crew *crew_start(struct arena *a, size_t n, crew_fn *fn, void *ctx)
{
	return crew_start_large(a, n, n, fn, ctx);
}

struct crew *crew_start_large(struct arena *a, size_t n, size_t weight, crew_fn *fn, void *ctx)
{
	struct crew *c = arena_alloc(a, sizeof(*c));
	size_t most = helpers_for(n, weight);
	sigset_t all, before;

	c->a = a;
	c->fn = fn;
	c->ctx = ctx;
	c->n = n;
	pthread_mutex_init(&c->lock, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; c->nhelpers < most; c->nhelpers++) {
		struct helper *h = &c->helper[c->nhelpers];

		h->crew = c;
		h->a = arena_new();
		if (pthread_create(&h->thread, NULL, help, h)) {
			arena_free(h->a);
			break;
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return c;
}

/* A thread that is joined still has its ID for a moment. */
static void dismiss(struct helper *h, struct arena *a)
{
	pthread_join(h->thread, NULL);
	while (!syscall(SYS_tgkill, getpid(), atomic_load(&h->tid), 0))
		sched_yield();
	arena_adopt(a, h->a);
}

static void end(struct crew *c)
{
	while (c->nhelpers)
		dismiss(&c->helper[--c->nhelpers], c->a);
}

int crew_finish(struct crew *c)
{
	work(c, c->a);
	end(c);
	return c->err < 0 ? err_adopt(-c->err, c->why) : 0;
}

void crew_cancel(struct crew *c)
{
	atomic_store(&c->next, c->n);
	end(c);
}
