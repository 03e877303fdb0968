/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pages file that several threads write at once, each at its own offset.
 *
 * write(2) takes the file's lock, so writers of one file stand in line: 16 of them
 * are no faster than two. And in memory (tmpfs) most of a write is the making of its pages,
 * 4 KiB at a time. So there they copy into a mapping of the file, whose pages are made in blocks of
 * 2 MiB: MADV_COLLAPSE makes one huge page of a block in which one small page exists,
 * whatever the mount says of huge pages. It takes a third of the time, and readers
 * gain as well. Where that does not work, and on a disk, where the kernel's page_mkwrite per page
 * costs more than the lock, it is pwritev(2).
 *
 * Direct writes of several threads need not stand in line if the file has its blocks before.
 */
#ifndef PAGE_PAGES_FILE_H
#define PAGE_PAGES_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct pages_file {
	int fd;            /* the caller's */
	uint32_t pages_id; /* for sentences */
	bool direct;       /* asked for: past the page cache, which a large image would only fill */
	int direct_fd;     /* -1: not so */
	uint8_t *map;      /* NULL: written with pwritev */
	uint64_t map_len;
	void *room;        /* where the mapping lies, for its alignment */
	uint64_t room_len;
	_Atomic uint8_t *block; /* the state of each whole 2 MiB of it; NULL: pages of 4 KiB */
	uint64_t ahead;    /* so many blocks are made before they are needed */
	_Atomic bool short_of_huge; /* one could not be had: searching for more would cost more than it gives */
};

/* Chooses the way for at most most_len bytes by so many writers. Never fails: the plain way is always there. */
void pages_file_prepare(struct pages_file *f, uint64_t most_len, unsigned writers);
/*
 * Writes n pieces of aligned pages, one behind the other, from off on. For several threads at once; v is used up.
 * They may lie in the file's own room, at off or behind it.
 */
int pages_file_write(struct pages_file *f, struct iovec *v, size_t n, uint64_t off) must_check;
/*
 * Where the bytes [off, off + len) may be put as they come, without a buffer in between: room for them is made. NULL if
 * they have to be written. What is put there and comes to lie elsewhere is not counted: others write over it.
 */
uint8_t *pages_file_room(struct pages_file *f, uint64_t off, uint64_t len);
/* These have been put there: makes room for a later one, so that nobody has to wait for it then. */
void pages_file_ahead(struct pages_file *f, uint64_t off, uint64_t len);
/* All is written: the file gets its length. */
int pages_file_finish(struct pages_file *f, uint64_t len) must_check;

#endif
