/* SPDX-License-Identifier: Apache-2.0 */
/* Words for madvise() that the headers of Debian 12 lack. */
#ifndef BASE_ADVICE_H
#define BASE_ADVICE_H

#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#endif
