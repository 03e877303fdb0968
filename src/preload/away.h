/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large memory is taken away and comes back (away.c). Called by the session's thread alone, while the gate is closed:
 * nobody else is in the driver or in the books.
 */
#ifndef PRELOAD_AWAY_H
#define PRELOAD_AWAY_H

#include <stdbool.h>
#include <stddef.h>

#include "preload/ask.h"

/* Whether memory is away. */
bool away_is(void);
/* Waits for all work of the contexts that have such memory. 0 or a CUresult, as the others. */
int away_settle(void);
/* The pieces of all contexts, and how many; NULL when there is no memory for the list. */
struct ask_piece *away_list(size_t *ret_n);
/* A descriptor that keeps a piece's memory alive. */
int away_export(const struct ask_piece *p, int *ret_fd);
/* Lets go of all. On failure some may be gone already, and away_take_back() of all brings them back. */
int away_release(void);
/*
 * Another process's memory can be neither exported nor, by the driver, restored. So each such piece is exchanged for
 * one of our own, by a copy on the GPU; room for one piece is needed.
 */
int away_own(void);
/* Maps memory where the piece was; nothing is done for one that is not away. */
int away_take_back(const struct ask_piece *p, int fd);
/* -ENODATA: a piece is still away. */
int away_end(void);

#endif
