/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name that a restore borrows for a moment, so that a deleted file can be
 * opened by it: /proc/PID/fd then shows "NAME (deleted)" as before.
 */
#ifndef KIND_BORROWED_H
#define KIND_BORROWED_H

#include "base/arena.h"

struct borrowed {
	struct arena *a;
	const char *path; /* what it is now */
	const char **dirs; /* directories made on the way, outermost first */
	size_t ndirs;
};

/*
 * Makes the missing directories above want, then calls make(path, arg) with want, and
 * with other names beside it as long as that says -EEXIST. Returns what make() returned,
 * which gives no trail; on failure nothing is left, with a trail.
 */
int borrowed_take(struct borrowed *b, struct arena *a, const char *want, int (*make)(const char *path, void *arg),
		  void *arg) must_check;
/* Removes the directories; the caller has removed or renamed the file. */
void borrowed_drop(struct borrowed *b);

#endif
