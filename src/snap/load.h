/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of snap_load(). */
#ifndef SNAP_LOAD_H
#define SNAP_LOAD_H

#include "snap/snap.h"

struct load_id;

/* Says that id is t's; refuses one that is taken. *ids starts as NULL. */
int load_id_claim(struct snap *s, struct load_id **ids, uint32_t id, struct snap_task *t) must_check;

/* pstree.img: fills s->tasks, each with its parent and children; PIDs are claimed, thread IDs not yet. */
int load_tree(struct snap *s, int dirfd, struct load_id **ids) must_check;

/* The page map `num` of a directory (IMG_PAGEMAP, IMG_PAGEMAP_SHMEM), as it stands there. -ENOENT: it has none. */
int load_pages(struct arena *a, int dirfd, enum img_id id, uint64_t num, struct snap_pages *p) must_check;

#endif
