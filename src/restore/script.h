/* SPDX-License-Identifier: Apache-2.0 */
/* --action-script: programs of the user's that are told of the moments of a restore. */
#ifndef RESTORE_SCRIPT_H
#define RESTORE_SCRIPT_H

#include "restore/rt.h"

/* Runs every script with CRTOOLS_SCRIPT_ACTION=action (and CRTOOLS_INIT_PID once there is one). One that fails ends the restore. */
int script_run(void *restore, const char *action) must_check;

#endif
