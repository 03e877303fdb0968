/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena (arena.h): a list of blocks, the newest is filled from its start. Nothing is handed out twice, so blocks are
 * zeroed as they come. Small arenas grow by little; one that has become large gets huge pages: page maps of
 * hundreds of thousands of runs otherwise cost more in page faults than in decoding, and again when the engine forks.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { BLOCK_LEN = 256 * 1024, ALIGN = 16, HUGE = 2 << 20 };

struct block {
	struct block *next;
	size_t used, len;
	_Alignas(ALIGN) char data[];
};

struct arena {
	struct block *blocks;
	size_t len; /* of all blocks */
	ProtobufCAllocator pb;
};

static void *pb_alloc(void *a, size_t len)
{
	return arena_alloc(a, len);
}

static void pb_free(void *a, void *p)
{
	(void)a;
	(void)p;
}

static void *or_die(void *p)
{
	if (!p) {
		fputs("thaw: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

struct arena *arena_new(void)
{
	struct arena *a = or_die(calloc(1, sizeof(*a)));

	a->pb = (ProtobufCAllocator){ .alloc = pb_alloc, .free = pb_free, .allocator_data = a };
	return a;
}

void arena_free(struct arena *a)
{
	struct block *b, *next;

	if (!a)
		return;
	for (b = a->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

void arena_adopt(struct arena *a, struct arena *from)
{
	struct block **end = &a->blocks;

	if (*end) /* the newest stays in front: it is the one that is filled */
		end = &a->blocks->next;
	if (from->blocks) {
		struct block *last = from->blocks;

		while (last->next)
			last = last->next;
		last->next = *end;
		*end = from->blocks;
		a->len += from->len;
	}
	free(from);
}

/* Whole huge pages. */
static struct block *block_huge(size_t len)
{
	struct block *b = or_die(aligned_alloc(HUGE, len));

	madvise(b, len, MADV_HUGEPAGE);
	memset(b, 0, len);
	return b;
}

static void block_add(struct arena *a, size_t want)
{
	size_t len = sizeof(struct block) + (want > BLOCK_LEN ? want : BLOCK_LEN);
	struct block *b;

	if (a->len + want >= HUGE) {
		len = (sizeof(*b) + want + HUGE - 1) / HUGE * HUGE;
		b = block_huge(len);
	} else {
		b = or_die(calloc(1, len));
	}
	b->len = len - sizeof(*b);
	b->next = a->blocks;
	a->blocks = b;
	a->len += len;
}

void *arena_alloc(struct arena *a, size_t len)
{
	size_t want = (len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	void *p;

	if (!a->blocks || a->blocks->len - a->blocks->used < want)
		block_add(a, want);
	p = a->blocks->data + a->blocks->used;
	a->blocks->used += want;
	return p;
}

void *arena_memdup(struct arena *a, const void *p, size_t len)
{
	void *copy = arena_alloc(a, len);

	if (len)
		memcpy(copy, p, len);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_memdup(a, s, strlen(s) + 1);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *s;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	s = arena_alloc(a, (size_t)len + 1);
	va_start(ap, fmt);
	vsnprintf(s, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return s;
}

void arena_push(struct arena *a, void ***vec, size_t *n, void *item)
{
	/* full exactly when n is 0 or a power of two: no capacity is stored */
	if (!(*n & (*n - 1))) {
		void **more = arena_alloc(a, (*n ? 2 * *n : 1) * sizeof(void *));

		if (*n)
			memcpy(more, *vec, *n * sizeof(void *));
		*vec = more;
	}
	(*vec)[(*n)++] = item;
}

ProtobufCAllocator *arena_pb(struct arena *a)
{
	return &a->pb;
}
