/* SPDX-License-Identifier: Apache-2.0 */
/* Transparent huge pages: to whom the system gives them when memory is touched. */
#ifndef KERN_THP_H
#define KERN_THP_H

#include "base/err.h"

enum thp_mode { THP_NEVER, THP_MADVISE, THP_ALWAYS };

/* An enum thp_mode, or -errno (without a sentence) if the kernel knows nothing of them. */
int thp_mode(void);

#endif
