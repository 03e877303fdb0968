/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes -> an entry of a page map (img_pagemap.h). What it means must be what protobuf-c would make of it. */
#include "img/img_pagemap.h"

#include <stdbool.h>

enum { ROOM = 512 };

/* What stands before a number: the field, and the wire's type 0. */
enum {
	KEY_VADDR = 1 << 3,
	KEY_COMPAT = 2 << 3,
	KEY_IN_PARENT = 3 << 3,
	KEY_FLAGS = 4 << 3,
	KEY_PAGES = 5 << 3,
	KEY_SAME = 10001 << 3,
	KEY_MAX = KEY_SAME,
};

/* A number of at most `most`: more, or more bytes than 64 bits take, is for the general decoder to judge. */
static bool take_number(const uint8_t **p, const uint8_t *end, uint64_t most, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 63 && *p < end; shift += 7) {
		uint8_t b = *(*p)++;

		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*ret = v;
			return v <= most;
		}
	}
	return false;
}

static bool set_field(PagemapEntry *e, uint64_t key, uint64_t v)
{
	switch (key) {
	case KEY_VADDR:
		e->vaddr = v;
		return true;
	case KEY_COMPAT:
		e->compat_nr_pages = (uint32_t)v;
		return v <= UINT32_MAX;
	case KEY_IN_PARENT:
		e->has_in_parent = true;
		e->in_parent = v == 1;
		return v <= 1;
	case KEY_FLAGS:
		e->has_flags = true;
		e->flags = (uint32_t)v;
		return v <= UINT32_MAX;
	case KEY_PAGES:
		e->has_nr_pages = true;
		e->nr_pages = v;
		return true;
	case KEY_SAME:
		e->has_same = true;
		e->same = v == 1;
		return v <= 1;
	default:
		return false;
	}
}

static bool decode(PagemapEntry *e, const uint8_t *p, const uint8_t *end)
{
	bool vaddr = false, compat = false;
	uint64_t key, v;

	while (p < end) {
		if (!take_number(&p, end, KEY_MAX, &key) || !take_number(&p, end, UINT64_MAX, &v))
			return false;
		if (!set_field(e, key, v))
			return false;
		vaddr |= key == KEY_VADDR;
		compat |= key == KEY_COMPAT;
	}
	return vaddr && compat; /* the required ones */
}

PagemapEntry *img_pagemap_take(struct img_pagemap_room *room, struct arena *a, const uint8_t *p, size_t len)
{
	if (!room->left) {
		room->next = arena_alloc(a, ROOM * sizeof(*room->next));
		room->left = ROOM;
	}
	pagemap_entry__init(room->next);
	if (!decode(room->next, p, p + len))
		return NULL;
	room->left--;
	return room->next++;
}
