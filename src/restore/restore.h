/* SPDX-License-Identifier: Apache-2.0 */
/* Restore: images -> snap -> plan -> kernel. */
#ifndef RESTORE_RESTORE_H
#define RESTORE_RESTORE_H

#include "base/opts.h"
#include "base/err.h"

/*
 * Restores the tree in opts->images_dir. Detached: returns when it runs.
 * Otherwise waits for the root task; *ret_status is then its wait status.
 * 0, or -errno with a trail and nothing left behind.
 */
int restore_run(const struct opts *o, int *ret_status) must_check;

#endif
