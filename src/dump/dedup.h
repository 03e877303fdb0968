/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw dedup: a page that newer images hold is never read from older ones, so its
 * space there is given back (a hole is punched; the file keeps its length, so page
 * maps stay true). Afterwards the older images serve only as parents.
 */
#ifndef DUMP_DEDUP_H
#define DUMP_DEDUP_H

#include <stdint.h>

#include "img/imgdir.h"

/* Frees, in all parents of the directory, what newer ones hold. */
int dedup_run(const char *path, uint64_t *ret_bytes) must_check;
/* The same when a dump's images are complete; what cannot be freed in older ones is no failure of theirs. */
void dedup_after(const struct imgdir *dir, struct arena *a);

#endif
