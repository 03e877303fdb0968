/* SPDX-License-Identifier: Apache-2.0 */
/* An internet socket made from its entry: the callbacks of kind_fd_inet. */
#ifndef KIND_INET_SOCK_H
#define KIND_INET_SOCK_H

#include "kind/kind.h"

int inet_sock_check(struct restoring *r, const FileEntry *e) must_check;
int inet_sock_open(struct restoring *r, const FileEntry *e) must_check;

#endif
