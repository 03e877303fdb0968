/* SPDX-License-Identifier: Apache-2.0 */
/* Threads being stopped together (tracees.h). */
#include "kern/tracees.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/trace.h"

enum { MISSES = 16, DETACH_MS = 500, REAP_MS = 10000 };

struct tracee *tracees_find(struct tracees *set, pid_t tid)
{
	struct tracee *t;

	HASH_FIND(hh, set->by_tid, &tid, sizeof(tid), t);
	return t;
}

static void push_pending(struct tracees *set, struct tracee *t)
{
	t->state = TRACEE_PENDING;
	t->stop_sig = 0;
	if (set->n_pending == set->cap_pending) {
		size_t cap = set->cap_pending ? 2 * set->cap_pending : 64;
		struct tracee **more = arena_alloc(set->a, cap * sizeof(struct tracee *));

		if (set->n_pending)
			memcpy(more, set->pending, set->n_pending * sizeof(struct tracee *));
		set->pending = more;
		set->cap_pending = cap;
	}
	set->pending[set->n_pending++] = t;
}

void tracees_expect(struct tracees *set, struct tracee *t)
{
	t->poke = true;
	push_pending(set, t);
}

struct tracee *tracees_add(struct tracees *set, pid_t tid, uint8_t hand, bool poke)
{
	struct tracee *t = tracees_find(set, tid);

	if (t) /* the number was used before, by one that died */
		HASH_DEL(set->by_tid, t);
	t = arena_alloc(set->a, sizeof(*t));
	t->tid = tid;
	t->hand = hand;
	t->poke = poke;
	HASH_ADD(hh, set->by_tid, tid, sizeof(tid), t);
	push_pending(set, t);
	return t;
}

/* It may have died, or not be ours any more: waiting will tell. */
static int interrupt(pid_t tid)
{
	int r = ptrace_interrupt(tid);

	return r == -ESRCH || r == -EIO ? 0 : r;
}

int tracee_seize(pid_t tid)
{
	int r = ptrace_seize(tid, PTRACE_O_TRACESYSGOOD);

	return r < 0 ? r : interrupt(tid);
}

/* 1: it stands or died, 0: still on its way */
static int look(struct tracee *t)
{
	struct ptrace_stop stop = { .kind = PTRACE_STOP_NONE };
	bool poke = t->poke;
	int r = poke ? interrupt(t->tid) : 0;

	t->poke = false;
	if (!r)
		r = ptrace_poll_stop(t->tid, &stop);
	if (r < 0)
		return r;
	if (poke && stop.kind == PTRACE_STOP_NONE) /* it never went on: who dies while a list is read cuts it short */
		ptrace_stands(t->tid, &stop);
	if (stop.kind == PTRACE_STOP_NONE)
		return 0;
	t->state = stop.kind == PTRACE_STOP_DIED ? TRACEE_DIED : TRACEE_STOPPED;
	t->stop_sig = stop.kind == PTRACE_STOP_GROUP ? stop.sig : 0;
	return 1;
}

struct round {
	struct tracees *set;
	bool (*done)(struct tracee *t); /* of finish_all() */
	size_t misses;                  /* so many in a row end it */
	atomic_size_t left, finished;
};

/* One hand's part of look_all(). */
static int look_own(void *ctx, size_t hand, struct arena *a)
{
	const struct round *o = ctx;
	size_t misses = 0;

	(void)a;
	for (size_t i = 0; i < o->set->n_pending && misses < o->misses; i++) {
		struct tracee *t = o->set->pending[i];
		int r;

		if (t->hand != hand || t->state != TRACEE_PENDING)
			continue;
		r = look(t);
		if (r < 0)
			return r;
		misses = r ? 0 : misses + 1;
	}
	return 0;
}

/*
 * One look at each; those on their way stay in the list. They stop about in the
 * order of their interrupts, so (unless all is asked for) a row of misses ends it: a thousand threads
 * must not cost a thousand looks for each that stops.
 */
static int look_all(struct tracees *set, bool all)
{
	struct round o = { .set = set, .misses = all ? SIZE_MAX : MISSES };
	size_t left = 0;
	int r = tracers_run(set->crew, look_own, &o);

	for (size_t i = 0; i < set->n_pending; i++)
		if (set->pending[i]->state == TRACEE_PENDING)
			set->pending[left++] = set->pending[i];
	set->n_pending = left;
	return r;
}

static int nudge_own(void *ctx, size_t hand, struct arena *a)
{
	const struct tracees *set = ctx;
	struct tracee *t, *tmp;
	int r;

	(void)a;
	HASH_ITER(hh, set->by_tid, t, tmp) {
		r = 0;
		if (t->hand != hand)
			continue;
		if (t->state == TRACEE_STOPPED)
			r = look(t);
		else if (t->state == TRACEE_PENDING)
			r = ptrace_interrupt(t->tid);
		if (r == -ESRCH)
			t->state = TRACEE_DIED;
		else if (r < 0 && r != -EIO) /* -EIO: it is dying */
			return r;
	}
	return 0;
}

int tracees_nudge(struct tracees *set)
{
	return tracers_run(set->crew, nudge_own, set);
}

int tracees_wait(struct tracees *set, struct ptrace_waiter *w, struct tracee **ret_late)
{
	for (;;) {
		size_t before = set->n_pending;
		int r = look_all(set, false);

		if (!r && set->n_pending == before)
			r = look_all(set, true);
		if (!r && set->n_pending == before)
			r = tracees_nudge(set);
		if (r < 0 || !set->n_pending)
			return r;
		r = ptrace_waiter_pause(w);
		if (r < 0) {
			*ret_late = set->pending[0];
			return r;
		}
	}
}

/* True when the thread is no business of ours any more. */
static bool let_go(struct tracee *t)
{
	if (t->state == TRACEE_PENDING && look(t) < 0)
		t->state = TRACEE_LEFT;
	if (t->state == TRACEE_STOPPED) {
		/*
		 * Not stopped after all: it was killed, and until we reap it its process cannot end for its
		 * parent; or an exec has put a running thread in its place.
		 */
		if (ptrace_detach(t->tid, 0) == 1) {
			t->state = TRACEE_PENDING;
			(void)(ptrace_interrupt(t->tid) < 0);
		} else {
			t->state = TRACEE_LEFT;
		}
	}
	return t->state != TRACEE_PENDING;
}

static bool is_dead(struct tracee *t)
{
	return t->state == TRACEE_DIED || look(t) < 0 || t->state == TRACEE_DIED;
}

static int finish_own(void *ctx, size_t hand, struct arena *a)
{
	struct round *o = ctx;
	struct tracee *t, *tmp;
	size_t left = 0, done = 0, misses = 0;

	(void)a;
	HASH_ITER(hh, o->set->by_tid, t, tmp) {
		if (t->hand != hand || t->state == TRACEE_LEFT)
			continue;
		if (o->done(t)) {
			t->state = TRACEE_LEFT;
			done++;
			misses = 0;
		} else {
			left++;
			if (++misses == o->misses)
				break;
		}
	}
	atomic_fetch_add(&o->left, left);
	atomic_fetch_add(&o->finished, done);
	return 0;
}

static void finish_some(struct tracees *set, struct round *o, size_t misses)
{
	o->misses = misses;
	atomic_store(&o->left, 0);
	atomic_store(&o->finished, 0);
	(void)!tracers_run(set->crew, finish_own, o);
}

/* Until all are done with, some time at most. As in look_all() a row of misses ends a look, if anything came of it. */
static void finish_all(struct tracees *set, bool (*done)(struct tracee *t), uint64_t limit_ms)
{
	struct round o = { .set = set, .done = done };
	struct ptrace_waiter w;

	ptrace_waiter_begin(&w, trace_now_ns() + limit_ms * UINT64_C(1000000));
	do {
		finish_some(set, &o, MISSES);
		if (atomic_load(&o.left) && !atomic_load(&o.finished))
			finish_some(set, &o, SIZE_MAX);
	} while (atomic_load(&o.left) && !ptrace_waiter_pause(&w));
	ptrace_waiter_end(&w);
}

void tracees_detach(struct tracees *set)
{
	finish_all(set, let_go, DETACH_MS);
}

void tracees_reap(struct tracees *set)
{
	finish_all(set, is_dead, REAP_MS);
}

void tracees_drop(struct tracees *set)
{
	HASH_CLEAR(hh, set->by_tid);
}
