/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pages file as the engine reads it: through the page cache, or past it (--page-io; what page workers do by
 * themselves in pie/page_read.c).
 */
#ifndef PAGE_PAGE_SOURCE_H
#define PAGE_PAGE_SOURCE_H

#include <stdbool.h>

#include "base/err.h"
#include "pie/prog.h"

struct page_source {
	int fd, direct_fd; /* direct_fd -1: never directly */
	uint32_t pages_id, align;
	enum pie_io io;
};

/* Opens pages-<id>.img of a directory. punch: for writing, too, if that is allowed. */
int page_source_open(int dirfd, uint32_t pages_id, enum pie_io io, bool punch, struct page_source *ret) must_check;
void page_source_close(struct page_source *s);
/* Whether [off, off + len) is to be read directly: asked for, or not in the page cache, and possible. */
bool page_source_direct(const struct page_source *s, uint64_t off, uint64_t len);
/* Reads all of it. The sentence names the file and the place. */
int page_source_read(const struct page_source *s, bool direct, void *to, uint64_t len, uint64_t off) must_check;

#endif
