/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a bound unix socket: the socket knows its inode, whatever has become of the path it was bound to. */
#ifndef KIND_UNIX_PATH_H
#define KIND_UNIX_PATH_H

#include "kind/kind.h"

/* The file of a bound socket, opened O_PATH. Returns the descriptor, -1 with errno set. */
int unix_path_open(int fd);
/* Fills name_dir, file_perms, deleted of a socket bound to `name`. Refuses one whose file has another path now. */
int unix_path_dump(struct dumping *d, const struct fd_facts *f, const char *name, UnixSkEntry *e) must_check;

#endif
