/* SPDX-License-Identifier: Apache-2.0 */
/* What an epoll set watches (fd_epoll.c dumps the sets): who is meant by a number, and adding it on restore. */
#ifndef KIND_EPOLL_WATCH_H
#define KIND_EPOLL_WATCH_H

#include "kind/kind.h"

const FdinfoEntry *watch_fd_of_id(const struct snap_task *t, uint32_t id);
const FdinfoEntry *watch_fd_of_number(const struct snap_task *t, uint32_t tfd);
/* The file with this number in the first task that holds the set and has that number; 0: none. */
uint32_t watch_file_by_number(const struct snap *s, uint32_t epoll_id, uint32_t tfd);
/* The id of the file that w means, 0 when it cannot be told. */
uint32_t watch_file(const struct snap *s, uint32_t epoll_id, const EventpollTfdEntry *w);
/* The number that w was added as. */
uint32_t watch_key(const EventpollTfdEntry *w);

/* Adds in the engine what the engine can add to the set e, which is open as fd. */
int watch_add_all(struct restoring *r, const FileEntry *e, int fd) must_check;
/* Emits the rest into the first task that holds the set, as tfd. */
void watch_emit_all(struct restoring *r, const FileEntry *e, int tfd, struct prog *p);

#endif
