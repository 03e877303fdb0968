/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds of sockets share: SOL_SOCKET options, and the questions that
 * every family is asked. Socket descriptors fetched from the target are the same
 * open file description as the target's, so getsockopt() tells nearly everything.
 */
#ifndef KIND_SK_H
#define KIND_SK_H

#include "kern/sockdiag.h"
#include "kind/kind.h"

struct unix_dump;

/* Shared by the socket kinds during one dump; lives under KIND_STATE_UNIX. */
struct sk_dump {
	struct sockdiag *sd;
	uint64_t netns_cookie;   /* of our own network namespace, 0: this kernel does not tell */
	struct unix_dump *unix_; /* fd_unix.c's */
};

/* NULL with a trail when there is no socket diagnosis to be had. */
struct sk_dump *sk_dump_get(struct dumping *d);

/* The address family of a socket, -1 when f is none. */
int sk_family(const struct fd_facts *f);
/* getsockopt() of an int. Returns 0, or -errno without a trail (*ret_value is 0 then). */
int sk_get(int fd, int level, int opt, int *ret_value) must_check;
/* setsockopt() of an int; name is for the sentence. */
int sk_set(int fd, int level, int opt, int value, const char *name) must_check;

/* Refuses a socket of another network namespace. */
int sk_same_netns(struct dumping *d, int fd) must_check;
/* The id of the tree's network namespace; false when the tasks have none. For finish(): ids exist by then. */
bool sk_netns_id(const struct dumping *d, uint32_t *ret_id);

int sk_opts_dump(struct dumping *d, int fd, SkOptsEntry **ret_opts) must_check;
/* Everything but SO_REUSEADDR and SO_REUSEPORT, which matter before bind() and are its caller's. */
int sk_opts_restore(int fd, const SkOptsEntry *o) must_check;
/* Before anything is created: a filter or a device name that cannot be right. */
int sk_opts_check(const SkOptsEntry *o) must_check;
/* Room for a restored queue, whatever SO_SNDBUF will be in the end. */
int sk_opts_grow(int fd) must_check;

/*
 * Options that the wire format has no field for. Those whose loss the program
 * would notice are refused by name when they are set, the others give a warning.
 */
int sk_lost_check(const struct fd_facts *f, int family, int proto) must_check;

#endif
