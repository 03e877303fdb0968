/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crew: many small, independent pieces of work, spread over threads.
 *
 * With a thousand threads or two hundred processes the time goes into a thousand
 * times the same small file, of /proc or of the images. The kernel serves such
 * reads side by side, and ptrace(2), which it does not, can go on meanwhile: so
 * whoever starts a crew may do something else before it takes part.
 *
 * Each hand has an arena of its own, which becomes part of the caller's in the
 * end, and its own error trail. Helpers have all signals blocked. They are gone when the crew
 * is finished, their thread IDs too, for a restore may need just those.
 */
#ifndef BASE_CREW_H
#define BASE_CREW_H

#include "base/arena.h"

/* Piece i of the work. What it allocates and leaves in ctx comes from a. */
typedef int crew_fn(void *ctx, size_t i, struct arena *a);

struct crew;

/* Begins fn(ctx, i, ...) for all i < n, in order; by helpers if there are many, and CPUs to run them. Never fails. */
struct crew *crew_start(struct arena *a, size_t n, crew_fn *fn, void *ctx);
/* The same for a few large pieces that are as much work as `weight` small ones. */
struct crew *crew_start_large(struct arena *a, size_t n, size_t weight, crew_fn *fn, void *ctx);
/* Helps until all is done. Returns 0, or what the first piece (by number) that failed returned, with its trail. */
int crew_finish(struct crew *c) must_check;
/* Ends it early, whatever came out; leaves the caller's trail alone. */
void crew_cancel(struct crew *c);

#endif
