/* SPDX-License-Identifier: Apache-2.0 */
/* Threads being stopped together (tracees.h). */
#include "kern/tracees.h"

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

int tracees_expect(struct tracees *set, struct tracee *t)
{
	int r = ptrace_interrupt(t->tid);

	push_pending(set, t);
	return r == -ESRCH || r == -EIO ? 0 : r; /* it died, or is not ours any more: waiting will tell */
}

int tracees_adopt(struct tracees *set, pid_t tid, struct tracee **ret_tracee)
{
	struct tracee *t = tracees_find(set, tid);

	if (t) /* the number was used before, by one that died */
		HASH_DEL(set->by_tid, t);
	t = arena_alloc(set->a, sizeof(*t));
	t->tid = tid;
	HASH_ADD(hh, set->by_tid, tid, sizeof(tid), t);
	*ret_tracee = t;
	return tracees_expect(set, t);
}

int tracees_seize(struct tracees *set, pid_t tid, struct tracee **ret_tracee)
{
	int r = ptrace_seize(tid, PTRACE_O_TRACESYSGOOD);

	return r < 0 ? r : tracees_adopt(set, tid, ret_tracee);
}

/* 1: it stands or died, 0: still on its way */
static int look(struct tracee *t)
{
	struct ptrace_stop stop;
	int r = ptrace_poll_stop(t->tid, &stop);

	if (r < 0)
		return r;
	if (stop.kind == PTRACE_STOP_NONE)
		return 0;
	t->state = stop.kind == PTRACE_STOP_DIED ? TRACEE_DIED : TRACEE_STOPPED;
	t->stop_sig = stop.kind == PTRACE_STOP_GROUP ? stop.sig : 0;
	return 1;
}

/*
 * One look at each; those on their way stay in the list. They stop about in the
 * order of their interrupts, so (unless all is asked for) a row of misses ends it: a thousand threads
 * must not cost a thousand looks for each that stops.
 */
static int look_all(struct tracees *set, bool all)
{
	size_t left = 0, misses = 0, i;

	for (i = 0; i < set->n_pending && (all || misses < MISSES); i++) {
		struct tracee *t = set->pending[i];
		int r = t->state == TRACEE_PENDING ? look(t) : 1;

		if (r < 0)
			return r;
		if (!r)
			set->pending[left++] = t;
		misses = r ? 0 : misses + 1;
	}
	if (i < set->n_pending)
		memmove(&set->pending[left], &set->pending[i], (set->n_pending - i) * sizeof(struct tracee *));
	set->n_pending -= i - left;
	return 0;
}

int tracees_nudge(struct tracees *set)
{
	struct tracee *t, *tmp;
	int r;

	HASH_ITER(hh, set->by_tid, t, tmp) {
		r = 0;
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
	return t->state == TRACEE_DIED || t->state == TRACEE_LEFT || look(t) < 0 || t->state == TRACEE_DIED;
}

/* Until all are done with, some time at most. */
static void finish_all(struct tracees *set, bool (*done)(struct tracee *t), uint64_t limit_ms)
{
	struct tracee *t, *tmp;
	struct ptrace_waiter w;
	size_t left;

	ptrace_waiter_begin(&w, trace_now_ns() + limit_ms * UINT64_C(1000000));
	do {
		left = 0;
		HASH_ITER(hh, set->by_tid, t, tmp)
			left += !done(t);
	} while (left && !ptrace_waiter_pause(&w));
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
