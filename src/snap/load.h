/* SPDX-License-Identifier: Apache-2.0 */
/* What load.c and load_tree.c share: the IDs of the tree, each of which one task or thread owns. */
#ifndef SNAP_LOAD_H
#define SNAP_LOAD_H

#include "snap/snap.h"

struct load_id;

/* Says that id is t's; refuses one that is taken. *ids starts as NULL. */
int load_id_claim(struct snap *s, struct load_id **ids, uint32_t id, struct snap_task *t) must_check;

/* pstree.img: fills s->tasks, each with its parent and children; PIDs are claimed, thread IDs not yet. */
int load_tree(struct snap *s, int dirfd, struct load_id **ids) must_check;

#endif
