/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of page maps: the one message of which there may be hundreds of thousands (65,000 if of a quarter of a GiB
 * every other page is in the parent's images), so it has a decoder of its own. That takes what everybody writes, known
 * fields with one number each, and leaves the rest (damage, fields of a later version) to the one for all messages,
 * which says what is wrong.
 */
#ifndef IMG_IMG_PAGEMAP_H
#define IMG_IMG_PAGEMAP_H

#include "img/img.h"

/* Entries are allocated by the hundred. */
struct img_pagemap_room {
	PagemapEntry *next;
	size_t left;
};

/* NULL: not for this decoder. */
PagemapEntry *img_pagemap_take(struct img_pagemap_room *room, struct arena *a, const uint8_t *p, size_t len);

#endif
