/* SPDX-License-Identifier: Apache-2.0 */
/* The parser, for img_read.c. */
#ifndef IMG_IMG_PARSE_H
#define IMG_IMG_PARSE_H

#include "img/img.h"

struct img_src {
	const char *name;   /* for sentences */
	const uint8_t *buf; /* the whole file, or NULL: read pieces from fd, leave payloads where they are */
	uint64_t len;
	int fd;
};

int img_src_parse(const struct img_type *t, const struct img_src *src, struct arena *a,
		  struct img_msgs *ret) must_check;

#endif
