/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of thaw that are files of their own: its library, its GPU agent. */
#ifndef CLI_PART_H
#define CLI_PART_H

#include <limits.h>

#include "base/err.h"

/* Beside thaw (as built), or where it is installed. */
int part_find(const char *name, char ret[PATH_MAX]) must_check;

#endif
