/* SPDX-License-Identifier: Apache-2.0 */
/* Deleted files that are still open: the image carries what is in them. */
#ifndef KIND_GHOST_H
#define KIND_GHOST_H

#include "kind/kind.h"
#include "kind/remap.h"

/* Stores the file behind f, once per inode, and links m to it. Files above --ghost-limit are refused. */
int ghost_dump(struct dumping *d, const struct fd_facts *f, const RegFileEntry *m) must_check;

/* Before anything is created: is its image there and readable? */
int ghost_check(struct restoring *r, const struct remap *row) must_check;
/* The descriptor of the file entry row->orig_id, of all that share the file when the first is asked for. */
int ghost_open(struct restoring *r, struct remap *row) must_check;

#endif
