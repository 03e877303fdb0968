/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files: one option a line, written as on the command line without "--". */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "base/arena.h"
#include "base/opts.h"

/*
 * Applies, in this order: /etc/thaw/default.conf and ~/.thaw/default.conf if
 * they exist (not with skip_defaults), the file that $THAW_CONFIG_FILE names,
 * and file (NULL: none). Options that o->cmd does not take are passed over,
 * since one file serves all sub-commands. Errors name file and line.
 */
int config_apply(struct arena *a, bool skip_defaults, const char *file, struct opts *o) must_check;

#endif
