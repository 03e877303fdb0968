/* SPDX-License-Identifier: Apache-2.0 */
/* Threads being stopped together (tracees.h). */
#include "kern/tracees.h"

#include <string.h>

#include "base/trace.h"

enum { REAP_MS = 10000 };

struct tracee *tracees_find(struct tracees *set, pid_t tid)
{
	struct tracee *t;

	HASH_FIND(hh, set->by_tid, &tid, sizeof(tid), t);
	return t;
}

void tracees_expect(struct tracees *set, struct tracee *t)
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

int tracees_seize(struct tracees *set, pid_t tid, struct tracee **ret_tracee)
{
	struct tracee *t;
	int r = ptrace_seize(tid, 0);

	if (r < 0)
		return r;
	t = tracees_find(set, tid);
	if (t) /* the number was used before, by one that died */
		HASH_DEL(set->by_tid, t);
	t = arena_alloc(set->a, sizeof(*t));
	t->tid = tid;
	HASH_ADD(hh, set->by_tid, tid, sizeof(tid), t);
	tracees_expect(set, t);
	r = ptrace_interrupt(tid); /* -ESRCH: it died, waiting will tell */
	if (r < 0 && r != -ESRCH)
		return r;
	*ret_tracee = t;
	return 0;
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

/* One look at each; those on their way stay in the list. */
static int look_all(struct tracees *set)
{
	size_t left = 0;

	for (size_t i = 0; i < set->n_pending; i++) {
		int r = look(set->pending[i]);

		if (r < 0)
			return r;
		if (!r)
			set->pending[left++] = set->pending[i];
	}
	set->n_pending = left;
	return 0;
}

int tracees_wait(struct tracees *set, struct ptrace_waiter *w, struct tracee **ret_late)
{
	for (;;) {
		int r = look_all(set);

		if (r < 0 || !set->n_pending)
			return r;
		r = ptrace_waiter_pause(w);
		if (r < 0) {
			*ret_late = set->pending[0];
			return r;
		}
	}
}

void tracees_detach(struct tracees *set)
{
	struct tracee *t, *tmp;

	HASH_ITER(hh, set->by_tid, t, tmp) {
		if (t->state == TRACEE_PENDING)
			(void)(look(t) < 0); /* perhaps it stands by now */
		if (t->state != TRACEE_DIED)
			(void)(ptrace_detach(t->tid, 0) < 0); /* not standing: the kernel does it when the tracer exits */
	}
}

void tracees_reap(struct tracees *set)
{
	struct tracee *t, *tmp;
	struct ptrace_waiter w;
	size_t left;

	ptrace_waiter_begin(&w, trace_now_ns() + REAP_MS * UINT64_C(1000000));
	do {
		left = 0;
		HASH_ITER(hh, set->by_tid, t, tmp) {
			if (t->state != TRACEE_DIED && look(t) >= 0 && t->state != TRACEE_DIED)
				left++;
		}
	} while (left && !ptrace_waiter_pause(&w));
	ptrace_waiter_end(&w);
}

void tracees_drop(struct tracees *set)
{
	HASH_CLEAR(hh, set->by_tid);
}
