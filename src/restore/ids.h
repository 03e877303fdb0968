/* SPDX-License-Identifier: Apache-2.0 */
/* The PIDs and thread IDs of a restore: those that the image needs, and others for page workers and thaw itself. */
#ifndef RESTORE_IDS_H
#define RESTORE_IDS_H

#include "restore/rt.h"

/*
 * Refuses by number what cannot be had (but for a plan), and chooses numbers for page workers. When one of them
 * is the engine's own, the restore begins again with another (guard_other_pid()).
 */
int ids_plan(struct restore *r) must_check;
/* Does the image need it? ctx: a struct restore. */
bool ids_needed(const void *ctx, int32_t id);

#endif
