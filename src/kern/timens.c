/* SPDX-License-Identifier: Apache-2.0 */
/* Time namespaces (timens.h). Only children enter a new one, so whoever makes it stays where it is. */
#include "kern/timens.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

static const int64_t SECOND = 1000000000;

/* The line "NAME SECONDS NANOSECONDS", where the seconds may be negative. */
static int offset_of(const char *text, const char *name, int64_t *ret_ns)
{
	const char *line = strstr(text, name);
	int64_t sec;
	int32_t ns;

	if (!line || sscanf(line + strlen(name), "%" SCNd64 " %" SCNd32, &sec, &ns) != 2 ||
	    sec < INT64_MIN / SECOND + 1 || sec > INT64_MAX / SECOND - 1)
		return err_say(EINVAL, "timens_offsets: no line %s", name);
	*ret_ns = sec * SECOND + ns;
	return 0;
}

int timens_offsets(int proc_fd, struct timens *ret_ahead)
{
	auto_free char *text = NULL;
	ssize_t n = io_slurp(proc_fd, "timens_offsets", &text);
	struct timens t = { 0 };
	int err;

	if (n < 0 && n != -ENOENT)
		return (int)n;
	err = n < 0 ? 0 : offset_of(text, "monotonic", &t.monotonic_ns);
	if (err >= 0 && n >= 0)
		err = offset_of(text, "boottime", &t.boottime_ns);
	if (err >= 0)
		*ret_ahead = t;
	return err;
}

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

struct timens timens_now(void)
{
	return (struct timens){ clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_BOOTTIME) };
}

/* The kernel wants the nanoseconds positive. */
static int print_offset(char *text, size_t len, const char *name, int64_t ns)
{
	int64_t sec = ns / SECOND, rest = ns % SECOND;

	if (rest < 0) {
		sec--;
		rest += SECOND;
	}
	return snprintf(text, len, "%s %" PRId64 " %" PRId64 "\n", name, sec, rest);
}

static int write_offsets(const struct timens *ahead)
{
	auto_close int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	char text[128];
	int n = print_offset(text, sizeof(text), "monotonic", ahead->monotonic_ns);

	if (fd < 0)
		return err_set(errno, "open /proc/self/timens_offsets");
	n += print_offset(text + n, sizeof(text) - (size_t)n, "boottime", ahead->boottime_ns);
	/* in one piece, or not at all */
	return write(fd, text, (size_t)n) == n ? 0 : err_set(errno, "set the offsets of a time namespace");
}

int timens_enter(const struct timens *ahead)
{
	int fd = open("/proc/self/ns/time", O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return err_set(errno, "open /proc/self/ns/time");
	err = syscall(SYS_unshare, CLONE_NEWTIME) < 0 ? err_set(errno, "make a time namespace") : write_offsets(ahead);
	if (err >= 0)
		return fd;
	timens_leave(fd);
	return err;
}

void timens_leave(int fd)
{
	if (fd < 0)
		return;
	syscall(SYS_setns, fd, CLONE_NEWTIME);
	close(fd);
}
