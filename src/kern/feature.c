/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel feature table (feature.h).
 *
 * The answers are the only writable globals here: what this kernel can do is
 * the process's, like its log. Two threads that ask at once may both probe; they store the same.
 */
#include "kern/feature.h"

#include <linux/capability.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "kern/probe.h"

enum { REQUIRED = true, WANTED = false };

static const struct feature_row {
	const char *name, *what, *lost;
	bool required;
	probe_fn *probe;
	uint64_t arg;
} rows[FEATURE_COUNT] = {
#define FEATURE(id, name_, need_, try_, arg_, what_, lost_)                                                      \
	[FEATURE_##id] = { .name = (name_), .what = (what_), .lost = (lost_), .required = (need_),                   \
			   .probe = probe_##try_, .arg = (uint64_t)(arg_) },
#include "kern/feature.def"
};

enum answer { UNASKED, THERE, MISSING };
static _Atomic unsigned char answers[FEATURE_COUNT];

void feature_try(enum feature f, struct feature_report *ret)
{
	const struct feature_row *row = &rows[f];

	*ret = (struct feature_report){
		.name = row->name, .what = row->what, .lost = row->lost, .required = row->required
	};
	ret->missing = row->probe(row->arg, ret->note);
	if (ret->missing > 0)
		ret->missing = 0;
	atomic_store(&answers[f], ret->missing ? MISSING : THERE);
}

bool feature_has(enum feature f)
{
	struct feature_report report;
	unsigned char answer = atomic_load(&answers[f]);

	if (answer != UNASKED)
		return answer == THERE;
	feature_try(f, &report);
	return !report.missing;
}
