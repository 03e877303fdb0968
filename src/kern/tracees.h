/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that one seize is stopping: a set by TID with a list of those still on their way.
 *
 * Only seize.c uses this. All are interrupted first and waited for together, since
 * one may be able to stop only after another was reaped (an exec waits for the
 * threads that it killed), and because it is quicker.
 */
#ifndef KERN_TRACEES_H
#define KERN_TRACEES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include "base/arena.h"
#include "base/err.h"
#include "kern/ptrace.h"
#include "kern/tracers.h"

enum tracee_state { TRACEE_PENDING, TRACEE_STOPPED, TRACEE_DIED, TRACEE_LEFT /* no business of ours any more */ };

struct tracee {
	pid_t tid;
	enum tracee_state state;
	int stop_sig;     /* of the group stop it stands in, else 0 */
	unsigned int gen; /* seize.c: the listing it was last seen in */
	uint8_t hand;     /* its tracer's: only that one touches what is above while all work */
	bool poke;        /* pending, and still to be interrupted by its tracer */
	UT_hash_handle hh;
};

struct tracees {
	struct arena *a;
	struct tracers *crew;
	struct tracee *by_tid;   /* uthash */
	struct tracee **pending; /* arena; compacted as they stop */
	size_t n_pending, cap_pending;
};

struct tracee *tracees_find(struct tracees *set, pid_t tid);

/*
 * In the thread that is to trace it: seizes and interrupts tid. 0, or -errno with a trail: -ESRCH gone, -EPERM anything
 * from a zombie to a rival tracer, -EAGAIN stuck in an exec.
 */
int tracee_seize(pid_t tid) must_check;

/*
 * Puts one in that this hand has seized, as pending; a dead tracee of that number is replaced. poke: it may have missed
 * its interrupt, since an exec has given it another number.
 */
struct tracee *tracees_add(struct tracees *set, pid_t tid, uint8_t hand, bool poke);

/*
 * Takes it for running, and has it interrupted again: an exec may have made
 * another thread of it, which may have been seized under another number, and missed its interrupt. If it stands after
 * all, that is seen.
 */
void tracees_expect(struct tracees *set, struct tracee *t);

/* Waits until nothing is pending: 0; or -ETIMEDOUT, and *ret_late is one that did not stop. */
int tracees_wait(struct tracees *set, struct ptrace_waiter *w, struct tracee **ret_late) must_check;

/*
 * For when nothing moves; execs are why. One waits for the threads that it killed
 * to be reaped, those that stand here included. And the thread that it puts in
 * the leader's place may have been seized under its old number and have missed its
 * interrupt, or not have been seized at all.
 */
int tracees_nudge(struct tracees *set) must_check;

/*
 * Lets all go, and reaps those that were killed. One that does not stop within half a second is left
 * to the kernel, which detaches it when the tracer exits.
 */
void tracees_detach(struct tracees *set);
/* After a SIGKILL to all: waits for their ends, 10 s at most. */
void tracees_reap(struct tracees *set);
/* Frees the hash table; the rest is the arena's. */
void tracees_drop(struct tracees *set);

#endif
