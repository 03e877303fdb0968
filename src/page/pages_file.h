/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pages file that several threads write at once, each at its own offset.
 *
 * write(2) takes the file's lock, so writers of one file stand in line: 16 of them
 * are no faster than two. Where the file is in memory anyway (tmpfs) and there are many writers,
 * they copy into a mapping of it instead, which has no such lock. On a disk the kernel's
 * page_mkwrite per page costs more than the lock.
 */
#ifndef PAGE_PAGES_FILE_H
#define PAGE_PAGES_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct pages_file {
	int fd;            /* the caller's */
	uint32_t pages_id; /* for sentences */
	uint8_t *map;      /* NULL: written with pwritev */
	uint64_t map_len;
};

/* Chooses the way for at most most_len bytes by so many writers. Never fails: the plain way is always there. */
void pages_file_prepare(struct pages_file *f, uint64_t most_len, unsigned writers);
/* Writes n pieces, one behind the other, from off on. May be called by several threads; v is used up. */
int pages_file_write(const struct pages_file *f, struct iovec *v, size_t n, uint64_t off) must_check;
/* All is written: the file gets its length. */
int pages_file_finish(struct pages_file *f, uint64_t len) must_check;

#endif
