/* SPDX-License-Identifier: Apache-2.0 */
/* What to put back (undo.h). */
#include "base/undo.h"

struct undo_step {
	struct undo_step *below;
	void (*fn)(void *arg);
	void *arg;
};

void undo_push(struct undo *u, void (*fn)(void *arg), void *arg)
{
	struct undo_step *s = arena_alloc(u->a, sizeof(*s));

	*s = (struct undo_step){ .below = u->top, .fn = fn, .arg = arg };
	u->top = s;
}

void undo_run(struct undo *u)
{
	while (u->top) {
		struct undo_step *s = u->top;

		u->top = s->below;
		s->fn(s->arg);
	}
}
