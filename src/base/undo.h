/* SPDX-License-Identifier: Apache-2.0 */
/* What to put back if the operation fails and no stage knows (a kind's temporary name): a stack, run newest first. */
#ifndef BASE_UNDO_H
#define BASE_UNDO_H

#include "base/arena.h"

struct undo {
	struct arena *a;
	struct undo_step *top;
};

void undo_push(struct undo *u, void (*fn)(void *arg), void *arg);
/* Runs and forgets everything. */
void undo_run(struct undo *u);

#endif
