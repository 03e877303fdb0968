/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks that never go back (clocks.c). */
#ifndef RESTORE_CLOCKS_H
#define RESTORE_CLOCKS_H

#include "restore/rt.h"

/*
 * Before the root task is made: decides whether the tree needs a time namespace
 * and makes it. *ret_fd is for timens_leave() when the root exists, -1: there is nothing to leave.
 */
int clocks_set(struct restore *r, int *ret_fd) must_check;

#endif
