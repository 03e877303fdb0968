/* SPDX-License-Identifier: Apache-2.0 */
/* What a dump says of itself. */
#ifndef DUMP_INVENTORY_H
#define DUMP_INVENTORY_H

#include "base/err.h"

struct dump;

/* The inventory in the model, with an ID of this run by which images that build upon these know them. */
void inventory_make(struct dump *d);
/* Writes stats-dump into the work directory. */
int inventory_stats(struct dump *d) must_check;
/* Takes them away again: a stage's undo. */
void inventory_stats_remove(void *dump);

#endif
