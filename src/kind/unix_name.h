/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of unix sockets: none, abstract (a leading NUL), or a path, which has a
 * file with a mode and an owner, may be relative to a directory, and may be unlinked.
 *
 * Restore binds to the very same bytes, since getsockname() and getpeername() tell
 * them. A socket file that nobody listens behind any more (the dump killed its owner) is
 * replaced; if the restore fails, one like it is put back. A living socket or another
 * kind of file is never touched.
 */
#ifndef KIND_UNIX_NAME_H
#define KIND_UNIX_NAME_H

#include "kind/kind.h"

enum { UNIX_NAME_TEXT = 160 };

/* A name for sentences: "/run/x.sock", "@abstract", "(unnamed)". Returns text. */
const char *unix_name_text(const void *name, size_t len, char text[static UNIX_NAME_TEXT]);

/* Fills name, name_dir, file_perms and deleted. name is what the kernel has in sun_path. */
int unix_name_dump(struct dumping *d, const struct fd_facts *f, const void *name, size_t len,
		   UnixSkEntry *e) must_check;

static inline bool unix_name_is(const UnixSkEntry *e)
{
	return e->name.len > 0;
}

static inline bool unix_name_is_path(const UnixSkEntry *e)
{
	return e->name.len > 0 && e->name.data[0] != 0;
}

/* The same name in the same directory? False for unnamed ones. */
bool unix_name_equal(const UnixSkEntry *a, const UnixSkEntry *b);

/* Could bind() take it? Nothing is changed. */
int unix_name_check(const UnixSkEntry *e) must_check;
/* -EADDRINUSE when somebody alive has the name. */
int unix_name_bind(struct restoring *r, int fd, const UnixSkEntry *e) must_check;
/* Connects fd to the socket of e. Does not wait for a full listener (-EAGAIN). */
int unix_name_connect(int fd, const UnixSkEntry *e) must_check;
/* Takes the file of a bound socket away again, as the program had done. */
int unix_name_unlink(const UnixSkEntry *e) must_check;

#endif
