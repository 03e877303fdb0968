/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that GPU memory is saved to and loaded from, as the copying threads see it.
 *
 * Read: what is in the page cache from there; what is not, past it, at the disk's own rate and without pushing out what
 * others need. That is decided for each range by itself: an image may be half in memory. A disk needs many requests at
 * once to be fast, memory as many threads as there are CPUs: so the number of threads depends on it, too.
 *
 * Written: to a file in memory by way of a mapping, since most of a write to tmpfs is the making of its pages, one lock
 * for all writers. Mapped, its pages are made huge: a block in which one small page exists can be collapsed, whatever
 * the mount says.
 */
#ifndef GPU_GPU_PAYLOAD_H
#define GPU_GPU_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct gpu_payload {
	int fd, direct_fd;      /* fd: whoever opened it closes it; direct_fd -1: never directly */
	bool cold;              /* most of it has to come from the disk */
	uint32_t align;
	uint64_t len;
	uint8_t *map;           /* written by way of this; or NULL */
	void *room;
	_Atomic uint64_t past;  /* bytes that were read past the page cache */
};

/* Never fails: what is not possible is done the plain way. */
void gpu_payload_open(int fd, bool load, uint64_t len, struct gpu_payload *ret);
void gpu_payload_close(struct gpu_payload *p);

/* Whether a range is all hole: zeros that need not be read. */
bool gpu_payload_is_hole(const struct gpu_payload *p, uint64_t off, size_t len);
/* All of a range. to: aligned to pages. */
int gpu_payload_read(struct gpu_payload *p, void *to, uint64_t off, size_t len) must_check;
/* Whole pages of GPU_PAGE. */
int gpu_payload_write(const struct gpu_payload *p, const void *from, uint64_t off, size_t len) must_check;

#endif
