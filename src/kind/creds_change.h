/* SPDX-License-Identifier: Apache-2.0 */
/* From one set of credentials to another, inside a restored thread. */
#ifndef KIND_CREDS_CHANGE_H
#define KIND_CREDS_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "img/messages.h"
#include "kern/proc.h"
#include "prog/asm.h"

struct creds {
	uint32_t uid[4], gid[4]; /* real, effective, saved, filesystem */
	const uint32_t *groups;
	size_t ngroups;
	uint64_t cap[PROC_CAPS];
	uint32_t securebits;
	bool no_new_privs;
};

/* Those of the calling process. */
int creds_own(struct arena *a, struct creds *ret) must_check;
/* As an image has them; groups point into e. */
int creds_of_entry(const CredsEntry *e, struct creds *ret) must_check;

/* Refuses by name what `own` has no right to become. */
int creds_check(const struct creds *own, const struct creds *want) must_check;
/* Emits what turns own into want, nothing when they are equal. Returns whether it emitted anything. */
bool creds_emit(const struct creds *own, const struct creds *want, struct prog *p);

#endif
