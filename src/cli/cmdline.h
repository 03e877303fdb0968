/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: words in, one struct opts out. */
#ifndef CLI_CMDLINE_H
#define CLI_CMDLINE_H

#include "base/arena.h"
#include "base/opts.h"

/*
 * Reads configuration files and the words; later ones win. ret->cmd is
 * CMD_COUNT if no sub-command was given, which is an error unless --help,
 * --version or --man was, or nothing at all. With those three nothing else is
 * checked. A failure's sentence ends with the help to read.
 */
int cmdline_parse(struct arena *a, int argc, char **argv, struct opts *ret) must_check;

#endif
