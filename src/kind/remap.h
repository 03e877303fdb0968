/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are not at their name any more, and where they are instead (remap-fpath.img).
 *
 *   GHOST   no name is left: a ghost-file image has the contents (ghost.h)
 *   LINKED  a name was given to it by the dump: another file entry has it (link_remap.h)
 */
#ifndef KIND_REMAP_H
#define KIND_REMAP_H

#include "kind/kind.h"

/* dump: what this inode got already; NULL: nothing. */
const RemapFilePathEntry *remap_known(struct dumping *d, const struct stat *st);
/* Remembers and writes down that file orig_id, whose inode is st, is to be found as remap_id. */
void remap_add(struct dumping *d, const struct stat *st, uint32_t orig_id, RemapType type, uint32_t remap_id);
/* A number for a new ghost. */
uint32_t remap_next_ghost(struct dumping *d);

/* restore */
struct remap {
	uint32_t orig_id, remap_id;
	RemapType type;
	bool opened;
	int fd; /* opened together with another descriptor of the same file, waits to be asked for; -1 */
};

struct remap_table {
	struct remap *v; /* by orig_id */
	size_t n;
};

struct remap_table *remap_table(struct restoring *r);
/* NULL: the file is at its name. */
struct remap *remap_of(struct restoring *r, uint32_t file_id);

#endif
