/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All unix sockets of an image, made together at the first open(), tied together at the first link().
 * The callbacks of kind_fd_unix; who is a peer of whom is said in fd_unix.c.
 */
#ifndef KIND_UNIX_SET_H
#define KIND_UNIX_SET_H

#include "kind/kind.h"

/* unix_sk_entry.uflags: it is no socket of the tree, but a name outside. */
enum { UNIX_EXTERN = 1 << 0 };

int unix_set_check(struct restoring *r, const FileEntry *e) must_check;
int unix_set_open(struct restoring *r, const FileEntry *e) must_check;
int unix_set_link(struct restoring *r, const FileEntry *e, int fd) must_check;

#endif
