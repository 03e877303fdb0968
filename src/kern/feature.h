/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel and these privileges allow: the rows of feature.def.
 *
 * Each feature is tried when it is first asked for and remembered, never
 * looked up by version. Probes leave no trace behind; those named PTRACE_* and
 * SECCOMP_SUSPEND fork a child for a moment, so ask for them before the first
 * thread is made. Privileges are taken as they are at the first question.
 */
#ifndef KERN_FEATURE_H
#define KERN_FEATURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum feature {
#define FEATURE(id, ...) FEATURE_##id,
#include "kern/feature.def"
	FEATURE_COUNT
};

enum { FEATURE_NOTE_LEN = 256 };

/* May be called from any thread. */
bool feature_has(enum feature f);

/* What `thaw check` prints. */
struct feature_report {
	const char *name, *what, *lost;
	bool required;
	int missing;                 /* 0: there, else why not: -errno */
	char note[FEATURE_NOTE_LEN]; /* the probe's own words, or "" */
};

/* Tries f, remembered or not. */
void feature_try(enum feature f, struct feature_report *ret);

#endif
