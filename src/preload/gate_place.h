/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where each thread says whether it is inside the gate.
 *
 * A place is a thread's from its first call on. Nothing has to happen when threads end: a place whose thread is
 * gone counts as empty, and is given to the next one that needs a place.
 */
#ifndef PRELOAD_GATE_PLACE_H
#define PRELOAD_GATE_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

struct gate_place {
	_Alignas(64) int in; /* written by its thread alone */
	pid_t tid;           /* whose; 0: nobody's yet */
};

/* One for the calling thread. Those that find none left share one, and from then on nobody can say who is inside. */
struct gate_place *gate_place_take(void);
bool gate_place_shared(void);
/* Whether no thread that lives is in its place. */
bool gate_place_empty(void);
/* In a child of fork(): mine is the only place that is somebody's. */
void gate_place_forked(struct gate_place *mine);

#endif
