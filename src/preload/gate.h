/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate between a program and its CUDA driver.
 *
 * A thread that is stopped in the middle of a driver call may hold a lock of the driver, and then nobody can take the
 * program's GPU memory away, nor give it back. So every call of the driver goes through a stub (gate_stubs.S), which
 * says that the thread is inside and looks whether the gate is closed. Whoever closes it first sets the flag and then
 * waits until nobody is inside: from then on late callers wait *here*, where a dump may find them.
 *
 * Each thread says so in a place of its own (gate_place.h), by plain stores: whoever closes the gate makes all
 * processors agree instead (membarrier). So a call costs 3 ns; with locked instructions it were 19.
 */
#ifndef PRELOAD_GATE_H
#define PRELOAD_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The stub that stands for what lies at `real`; the same again for the same address. NULL when there are no more. */
void *gate_stub(void *real);
/* Calls that come in for `real` go to `ours` from now on, through the gate as before. */
void gate_divert(void *real, void *ours);
/* Whether this is a stub. */
bool gate_has(const void *at);
/* How many stubs are given out. */
size_t gate_count(void);

/*
 * Lets nobody in any more and waits until all are out: -ETIMEDOUT, and open again, when that takes longer; -EUSERS:
 * there are more threads than can be watched. Until
 * gate_keep() it opens by itself when the time is over: whoever closed it may hang in the driver, behind work that
 * waits for a thread that waits here.
 */
int gate_close(unsigned timeout_ms);
/* Closed until gate_open(). -ETIMEDOUT: it has opened by itself. */
int gate_keep(void);
void gate_open(void);
/* At the start of the program, where it is cheap: makes gate_close() quick. */
void gate_prepare(void);
/* In a child of fork(): the other threads, and where they were, do not exist here. */
void gate_forked(void);

#endif
