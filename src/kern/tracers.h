/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several tracers: a crew in which each piece of work belongs to a certain hand.
 *
 * ptrace(2) is for the OS thread that seized the tracee, and much of it is waiting. So a tree of many processes is
 * shared out among several threads of ours, each of which does all that is ever done to its own, from seize to detach.
 * Hand 0 is the thread that made the crew; while there is no other nothing here costs anything.
 *
 * The threads of one process have one tracer: nearly every call takes a lock that they share (measured with a
 * thousand of them and 32 CPUs: two tracers do the calls of a dump in 0.9 of the time, eight in 1.2).
 *
 * All hands work, or only the caller does: no locks are needed for what is written in one run and read in the next.
 * As in a crew (crew.h) each has an arena and a trail of its own, and helpers have all signals blocked.
 */
#ifndef KERN_TRACERS_H
#define KERN_TRACERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/crew.h"
#include "base/err.h"

enum { TRACERS_MAX = 8 };

struct tracers;

/* hands: 0 for as many as pay, or exactly so many (1: all is done by the caller). */
struct tracers *tracers_new(struct arena *a, unsigned hands);
/* Before so many processes more: takes on helpers if they pay. One that cannot be made is done without. */
void tracers_expect(struct tracers *t, size_t more);
/* Whose the next process shall be. */
uint8_t tracers_choose(struct tracers *t);
/* The hand that this OS thread is, or -1. */
int tracers_find(const struct tracers *t, pid_t tid);

/* Every hand calls fn(ctx, its number, its arena) once. 0, or what the first that failed (by number) returned. */
int tracers_run(struct tracers *t, crew_fn *fn, void *ctx) must_check;
/*
 * fn(ctx, i, ...) for all i < n, by hand[i]. After a failure no more are begun; returns what the first piece (by
 * number) that failed returned, with its trail.
 */
int tracers_each(struct tracers *t, crew_fn *fn, void *ctx, const uint8_t *hand, size_t n) must_check;

/* Sends the helpers home. What they still trace the kernel lets go, as if thaw had died. */
void tracers_end(struct tracers *t);

#endif
