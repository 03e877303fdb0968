/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending a dump from outside, without harm.
 *
 * The process that the user started (and may kill with SIGKILL) only waits; a
 * child of it, in a process group of its own, does the dump. When the waiting one
 * is gone, or was told to end, the child gets a signal, stops at the next safe
 * point, lets the target go on and removes what it wrote.
 */
#ifndef DUMP_CANCEL_H
#define DUMP_CANCEL_H

#include "base/err.h"

/*
 * Runs work(arg) in a child. Returns what it returned, with its trail; a child
 * that was killed is -ECHILD with a trail.
 */
int cancel_guard(int (*work)(void *arg), void *arg) must_check;

/* Set when the dump is to end. -ECANCELED with a trail when it is. */
const volatile int *cancel_flag(void);
int cancel_check(void) must_check;
/* From here on nothing can be taken back: the flag is not looked at any more. */
void cancel_too_late(void);

#endif
