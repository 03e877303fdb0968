/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thaw that was killed (it cannot help it) has left in tasks that live: the mapping with its blob, the one of a
 * restore too; bytes of ledges in the vdso; threads that are still on their way home from there.
 *
 * It does no harm, but it must not get into images: it would come back with each restore, and the changed vdso would
 * be taken for another kernel's. So every dump looks for it first. And who waited for the killed one (base/guard.h)
 * does at once.
 */
#ifndef DUMP_LEFTOVER_H
#define DUMP_LEFTOVER_H

#include "dump/dt.h"

/* Of a tree that stands, as facts.c has seen it; afterwards it is seen as if there had been nothing. */
int leftover_clear(struct dump *d) must_check;

/*
 * An engine was killed while it was at work on the tree of pid, if that lives: stops it for this alone. Returns err,
 * which says so, with its trail.
 */
int leftover_visit(const struct opts *o, pid_t pid, int err) must_check;

#endif
