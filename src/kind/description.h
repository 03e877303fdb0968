/* SPDX-License-Identifier: Apache-2.0 */
/* What every open file description has, whatever is behind it: status flags, an owner, a text in fdinfo. */
#ifndef KIND_DESCRIPTION_H
#define KIND_DESCRIPTION_H

#include "kern/fdinfo.h"
#include "kind/kind.h"

/*
 * What fdinfo says about f beyond the common lines, in ret->rest, for the parsers of kern/fdinfo.h.
 * A descriptor that comes from no table (one in flight in a socket) is looked at through our own.
 */
int description_info(struct dumping *d, const struct fd_facts *f, struct fdinfo *ret) must_check;

/* A new description of the file behind fd, with the given open flags. Returns the descriptor. */
int description_reopen(int fd, uint32_t flags) must_check;

/* Sets those of the flags that F_SETFL can set (O_NONBLOCK, O_APPEND, O_ASYNC...). */
int description_flags(int fd, uint32_t flags) must_check;

/* Emits the owner and the signal of tfd; nothing when there is none. */
void description_owner(const FownEntry *fown, int tfd, struct prog *p);

/* Emits O_ASYNC anew: the number under which it is set is the one that signals tell (si_fd). For kinds that signal. */
void description_async(uint32_t flags, int tfd, struct prog *p);

#endif
