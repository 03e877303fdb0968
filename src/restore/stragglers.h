/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of restored tasks on their way out of the hole. */
#ifndef RESTORE_STRAGGLERS_H
#define RESTORE_STRAGGLERS_H

#include "restore/rt.h"

/* True when all threads of k but the leader have left; false if they have not after seconds. */
bool stragglers_wait(const struct restore *r, const struct rtask *k, struct arena *a);

#endif
