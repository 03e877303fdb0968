/* SPDX-License-Identifier: Apache-2.0 */
/* Which allocations the library serves (serve.c). */
#ifndef PRELOAD_SERVE_H
#define PRELOAD_SERVE_H

#include <stddef.h>

/* Blocks below this are the driver's: never less than 2 MiB. */
void serve_set_least(size_t bytes);

#endif
