/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How pages are read (--page-io): what the engine can tell before anything is made. Whether a
 * chunk lies in the page cache each worker sees when its turn comes (pie/page_read.c), so auto
 * only says here whether it is worth while to look.
 */
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/log.h"
#include "kern/uring.h"
#include "restore/rt.h"

_Static_assert((int)PAGE_IO_AUTO == PIE_IO_AUTO && (int)PAGE_IO_READ == PIE_IO_READ &&
		       (int)PAGE_IO_URING == PIE_IO_URING && (int)PAGE_IO_DIRECT == PIE_IO_DIRECT,
	       "the words of --page-io");

/* Two chunks of 16 MiB in requests of 1 MiB: a disk of many GB/s needs no more, and there are several workers. */
enum { RING_ENTRIES = 32, AUTO_LEAST = 64 << 20 };

/* The images, their parents included. */
static bool in_memory(const struct imgdir *d)
{
	struct statfs fs;

	for (; d; d = d->parent)
		if (fstatfs(d->dirfd, &fs) < 0 || (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))
			return false;
	return true;
}

/* Why auto need not look, or NULL. */
static const char *auto_reads(const struct restore *r)
{
	if (in_memory(r->dir))
		return "the images are in memory (tmpfs)";
	return r->fill_bytes + r->shmem_bytes < AUTO_LEAST ? "less than 64 MiB" : NULL;
}

static void try_rings(struct restore *r)
{
	char reason[URING_REASON_LEN];

	if (!r->workers || r->page_io == PIE_IO_READ)
		return;
	if (uring_try(RING_ENTRIES, reason) < 0) {
		log_info("io_uring not available: %s; pages are read with preadv", reason);
		return;
	}
	r->ring_entries = RING_ENTRIES;
	log_info("io_uring initialized (queue_depth=%d)", RING_ENTRIES);
}

void page_io_plan(struct restore *r)
{
	static const char *const what[] = {
		[PIE_IO_AUTO] = "auto: what is in the page cache with preadv, the rest directly from the disk",
		[PIE_IO_READ] = "with preadv",
		[PIE_IO_URING] = "through the page cache with io_uring",
		[PIE_IO_DIRECT] = "directly from the disk, past the page cache",
	};
	const char *why = r->kinds.opts->page_io == PAGE_IO_AUTO ? auto_reads(r) : NULL;

	r->page_io = why ? PIE_IO_READ : (enum pie_io)r->kinds.opts->page_io;
	if (why)
		log_info("pages are read with preadv: %s", why);
	else
		log_info("pages are read %s", what[r->page_io]);
	try_rings(r);
}

void page_io_report(const struct restore *r)
{
	const struct pie_board *b = r->board;

	if (b->ring_err)
		log_warn("io_uring failed in a page worker (%s): it read with preadv", strerror(-b->ring_err));
	if (r->page_io != PIE_IO_READ)
		log_info("read %lu MiB through the page cache, %lu MiB directly; %lu MiB of all by io_uring",
			 (b->bytes - b->direct) >> 20, b->direct >> 20, b->ringed >> 20);
}
