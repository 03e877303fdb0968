/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's symbol table, edited in memory: every exported cu* function then *is* its stub, for dlsym(), for
 * objects that are loaded later and for those that were linked before. So the gate is complete by construction:
 * no list of names can be out of date, and neither dlopen() nor dlsym() has to be replaced.
 */
#ifndef PRELOAD_SYMTAB_H
#define PRELOAD_SYMTAB_H

#include <link.h>

/* stub(): what takes the place of a function. 0 or -errno (then nothing was changed). */
int symtab_edit(const struct link_map *lib, void *(*stub)(void *real));
/* The same for what other loaded objects have bound already: known() is NULL for addresses that are none of ours. */
int symtab_rebind(const struct link_map *lib, void *(*known)(void *real));

#endif
