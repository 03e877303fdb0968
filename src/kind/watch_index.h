/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every open file of the tree in the kernel's order, to find the one that an epoll
 * entry means: a server may have thousands of both, and to compare each with each
 * would take minutes.
 */
#ifndef KIND_WATCH_INDEX_H
#define KIND_WATCH_INDEX_H

#include "kind/kind.h"

struct watch_index;

/* All descriptor tables must be complete, and their tasks stopped as long as the index is used. */
int watch_index_new(struct dumping *d, struct watch_index **ret) must_check;

/*
 * The file id of what stands in the set epfd of task ep_pid as the nth (from 0) of
 * those added as tfd. 1 found, 0 when no task has it open, -errno.
 */
int watch_index_find(const struct watch_index *x, int32_t ep_pid, int epfd, uint32_t tfd, uint32_t nth,
		     uint32_t *ret_id) must_check;

#endif
