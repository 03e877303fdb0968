/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: memory that is freed all at once.
 *
 * Everything that lives as long as one dump or one restore (the decoded
 * messages, the plan) comes from one arena, so no error path frees anything.
 * Not thread-safe: one arena belongs to one thread. Running out of memory ends
 * the process with a sentence (the callers hold nothing that exit() does not release).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "base/err.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a);
/* All of from's memory lives as long as a from now on; from is gone. */
void arena_adopt(struct arena *a, struct arena *from);

/* Zeroed, 16-byte aligned, never NULL. */
void *arena_alloc(struct arena *a, size_t len);
void *arena_memdup(struct arena *a, const void *p, size_t len);
char *arena_strdup(struct arena *a, const char *s);
char *arena_printf(struct arena *a, const char *fmt, ...) like_printf(2, 3);

/* Appends item to the pointer array *vec of *n items, which grows by doubling inside the arena. */
void arena_push(struct arena *a, void ***vec, size_t *n, void *item);
#define arena_add(a, vec, n, item) arena_push((a), (void ***)(vec), (n), (item))

/* The arena as protobuf-c's allocator (its free does nothing). Valid as long as the arena. */
ProtobufCAllocator *arena_pb(struct arena *a);

/* A new message in the arena: FileEntry *e = arena_msg(a, file_entry, FileEntry); */
#define arena_msg(a, snake, Type)                       \
	({                                              \
		Type *msg_ = arena_alloc((a), sizeof(Type)); \
		snake##__init(msg_);                    \
		msg_;                                   \
	})

#endif
