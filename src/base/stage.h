/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline is an array of stages, run in order and unwound backwards.
 *
 * run() of stage k fails: its trail is prefixed with nothing (the noun is the
 * object, not the stage), and undo() of k, k-1, ... 0 run, so each undo must
 * cope with its own run() having stopped half-way. When everything succeeded
 * no undo() is called; done() of all stages is, backwards, in both cases after
 * undo: it releases what the stage held either way.
 */
#ifndef BASE_STAGE_H
#define BASE_STAGE_H

#include <stddef.h>

#include "base/err.h"

struct stage {
	const char *name;
	int (*run)(void *ctx);
	void (*undo)(void *ctx); /* may be NULL */
	void (*done)(void *ctx); /* may be NULL */
};

/* Each stage is timed, logged at info level and written to the trace. Returns 0 or the first failure. */
int stage_run_all(const struct stage *stages, size_t n, void *ctx) must_check;

#endif
