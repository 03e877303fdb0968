/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes (io.h). */
#include "base/io.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { FDS_SOON = 4096 };

ssize_t io_read(int fd, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t io_pread(int fd, void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && (errno == EINTR || errno == EAGAIN)) /* EAGAIN: some file systems, at times */
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int io_write(int fd, const void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

int io_pwrite(int fd, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n) /* the memory of a process that has died takes nothing (/proc/PID/mem) */
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

int io_flush(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 || close(copy) < 0 ? -errno : 0;
}

ssize_t io_slurp(int dirfd, const char *path, char **ret_text)
{
	auto_close int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	size_t cap = 4096, len = 0;
	auto_free char *text = NULL;

	if (fd < 0)
		return err_set(errno, "open %s", path);
	for (;;) {
		char *more = realloc(text, cap + 1);
		ssize_t n;

		if (!more)
			return err_set(ENOMEM, "read %s", path);
		text = more;
		n = io_read(fd, text + len, cap - len);
		if (n < 0)
			return err_set((int)-n, "read %s", path);
		len += (size_t)n;
		if (len < cap)
			break;
		cap *= 2;
	}
	text[len] = 0;
	*ret_text = take_ptr(text);
	return (ssize_t)len;
}

void io_expect_fds(int some_fd)
{
	struct rlimit lim;
	int fd = -1;

	if (!getrlimit(RLIMIT_NOFILE, &lim)) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
	for (int at = FDS_SOON; fd < 0 && at > FDS_SOON / 8; at /= 2) /* fewer if the limit wants so */
		fd = fcntl(some_fd, F_DUPFD_CLOEXEC, at);
	if (fd >= 0)
		close(fd);
}
