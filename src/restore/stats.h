/* SPDX-License-Identifier: Apache-2.0 */
/* stats-restore.img, as CRIU writes it, and --display-stats. */
#ifndef RESTORE_STATS_H
#define RESTORE_STATS_H

#include "restore/rt.h"

/* Into the work directory. A failure is a warning: the tree already runs. */
void stats_write(const struct restore *r);

#endif
