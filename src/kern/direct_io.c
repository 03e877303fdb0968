/* SPDX-License-Identifier: Apache-2.0 */
/* Direct reads (direct_io.h): statx and cachestat. */
#include "kern/direct_io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the C library of Debian 12. */
enum { CACHESTAT = 451, PAGE = 4096 };

/* Memory is always aligned to pages: a file that wants more has none. */
int direct_io_align(int fd)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) || !(x.stx_mask & STATX_DIOALIGN))
		return -ENODATA;
	return x.stx_dio_mem_align <= PAGE ? (int)x.stx_dio_offset_align : 0;
}

bool direct_io_cold(int fd, uint64_t off, uint64_t len)
{
	uint64_t range[2] = { off, len }, stat[5];

	return syscall(CACHESTAT, fd, range, stat, 0) == 0 && stat[0] * PAGE < len / 2;
}
