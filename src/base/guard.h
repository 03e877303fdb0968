/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending a dump or restore from outside, without harm.
 *
 * The process that the user started (and may kill with SIGKILL) only waits; a
 * child of it, the engine, does the work. When the waiting one is gone, or was told
 * to end, the engine gets a signal, stops at the next safe point and undoes what
 * it did; past the point of no return it finishes instead.
 */
#ifndef BASE_GUARD_H
#define BASE_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* What work() returns to be run once more, in a process with another PID: if possible with this one (0: any). */
int guard_other_pid(pid_t wish) must_check;

/*
 * Runs work(arg) in a child and returns what it returned, with its trail; a child that was killed is
 * -ECHILD. own_group: out of reach of what is sent to thaw's process group (not for work that needs the terminal).
 * Not after threads exist.
 */
int guard_run(int (*work)(void *arg), void *arg, bool own_group) must_check;

/* Not 0 when the work is to end; the address may be handed to threads. */
const volatile int *guard_flag(void);
/* -ECANCELED with a trail when it is. */
int guard_check(void) must_check;
/* Before much memory is taken, so that the next can tell. Not before all work: it takes a fiftieth of a small dump. */
void guard_note_kills(void);
/* What to add to a sentence about a process that was killed: that memory ran out meanwhile, or nothing. */
enum { GUARD_STARVED_LEN = 128 };
const char *guard_starved(char text[GUARD_STARVED_LEN]);
/* From here on nothing can be taken back: the engine is not to be stopped any more. */
void guard_too_late(void);

#endif
