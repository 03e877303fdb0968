/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes: EINTR, short transfers (EAGAIN of files read at a place) are resumed here, nowhere else. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Reads until len bytes or end of file. Returns the bytes read or -errno (no trail: the caller knows the noun). */
ssize_t io_read(int fd, void *buf, size_t len) must_check;
ssize_t io_pread(int fd, void *buf, size_t len, uint64_t off) must_check;
/* Writes all of it. Returns 0 or -errno (no trail). */
int io_write(int fd, const void *buf, size_t len) must_check;
/* -EIO: nothing more can be written there, as to the memory of a process that has died */
int io_pwrite(int fd, const void *buf, size_t len, uint64_t off) must_check;

/*
 * Whether all that was written is where it is to go, as far as closing would tell: network file systems send what was
 * written then, and say only then that there was no room for it. No promise about disks. 0 or -errno.
 */
int io_flush(int fd) must_check;
/*
 * The whole of a file of unknown size (/proc), relative to dirfd (AT_FDCWD), as
 * a malloc'ed NUL-terminated string. Returns its length or -errno with a trail.
 */
ssize_t io_slurp(int dirfd, const char *path, char **ret_text) must_check;

/*
 * For who is about to hold many descriptors: as many as may be (RLIMIT_NOFILE), with room for the first thousands made
 * now, by way of some descriptor. A process that has threads waits some 10 ms whenever the kernel makes its
 * table larger.
 */
void io_expect_fds(int some_fd);

#endif
