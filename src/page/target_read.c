/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what is dumped (target_read.h). */
#include "page/target_read.h"

#include <errno.h>
#include <string.h>

#include "base/io.h"

/* Range by range: for what process_vm_readv cannot read, and for the rest of a short read. */
static int read_slowly(const struct collect_object *o, const struct iovec *v, size_t n, uint8_t *buf)
{
	for (size_t i = 0; i < n; i++) {
		ssize_t got = io_pread(o->src_fd, buf, v[i].iov_len, (uint64_t)v[i].iov_base);

		/* an object's last page may be longer than the object */
		if (got > 0 && !o->pid && v[i].iov_len - (size_t)got < SNAP_PAGE) {
			memset(buf + got, 0, v[i].iov_len - (size_t)got);
			got = (ssize_t)v[i].iov_len;
		}
		if (got != (ssize_t)v[i].iov_len)
			return err_set(got < 0 ? (int)-got : EIO, "%s: read memory at %lx", o->name,
				       (unsigned long)v[i].iov_base + (got > 0 ? (unsigned long)got : 0));
		buf += v[i].iov_len;
	}
	return 0;
}

int target_read(const struct collect_object *o, const struct iovec *v, size_t n, bool by_mem, uint8_t *buf)
{
	struct iovec to = { buf, 0 };

	if (!o->pid || by_mem || (!o->alone && !pagemap_exclusive(&o->pm, v, n)))
		return read_slowly(o, v, n, buf);
	for (size_t i = 0; i < n; i++)
		to.iov_len += v[i].iov_len;
	if (process_vm_readv(o->pid, &to, 1, v, n, 0) == (ssize_t)to.iov_len)
		return 0;
	return read_slowly(o, v, n, buf);
}

void target_read_rest(const struct collect_object *o, const struct iovec *v, size_t n, uint8_t *buf, bool *gone)
{
	for (size_t i = 0; i < n; i++)
		for (uint64_t at = 0; at < v[i].iov_len; at += SNAP_PAGE, buf += SNAP_PAGE)
			*gone++ = io_pread(o->src_fd, buf, SNAP_PAGE, (uint64_t)v[i].iov_base + at) != SNAP_PAGE;
}
