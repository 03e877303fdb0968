/* SPDX-License-Identifier: Apache-2.0 */
/* --action-script: programs of the user's that are told of the moments of a dump or restore. */
#ifndef BASE_SCRIPT_H
#define BASE_SCRIPT_H

#include <sys/types.h>

#include "base/opts.h"
#include "base/err.h"

/*
 * Runs every script, in order, with CRTOOLS_SCRIPT_ACTION, CRTOOLS_IMAGE_DIR and
 * (init > 0) CRTOOLS_INIT_PID in its environment. One that fails ends the operation. Not after threads exist.
 */
int script_run_all(const struct opts *o, const char *action, pid_t init) must_check;

#endif
