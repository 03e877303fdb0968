/* SPDX-License-Identifier: Apache-2.0 */
/* --help, and the OPTIONS part of the man pages: both print the option table. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "base/opts.h"

/* Help on a sub-command; CMD_COUNT: on thaw. On standard output. */
void help_print(enum cmd cmd);

/* The OPTIONS part of thaw-CMD(1) as roff on standard output; CMD_COUNT: the options that all sub-commands take. */
void roff_print(enum cmd cmd);

#endif
