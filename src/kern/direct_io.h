/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel says about reading a file past its page cache. */
#ifndef KERN_DIRECT_IO_H
#define KERN_DIRECT_IO_H

#include <stdbool.h>
#include <stdint.h>

/* What offsets and lengths of direct reads must be multiples of. 0: there are none here; -ENODATA: it does not say. */
int direct_io_align(int fd);
/* Whether most of a range would have to come from the disk; false where the kernel does not tell. */
bool direct_io_cold(int fd, uint64_t off, uint64_t len);

#endif
