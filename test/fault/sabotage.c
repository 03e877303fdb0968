/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into thaw: harm at an exact place, which no signal sent from outside can hit.
 *
 *   KILL_STEP=N    the engine is killed before its Nth step: a ptrace call, or a write to a place in a file (or memory)
 *   KILL_FRONT=1   together with the process that waits for it
 *   KILL_MARK=FILE made when it happened: it happens once
 *
 *   FAIL_CALL=NAME of these calls the FAIL_STEP=Nth that has to do with image files fails with FAIL_ERRNO=N;
 *   FAIL_MARK=FILE made when it happened
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_int steps, calls;

static int number(const char *name)
{
	const char *s = getenv(name);

	return s ? atoi(s) : 0;
}

static void step(void)
{
	int last = number("KILL_STEP");

	if (!last || atomic_fetch_add(&steps, 1) + 1 != last)
		return;
	if (NEXT(openat)(AT_FDCWD, getenv("KILL_MARK"), O_CREAT | O_EXCL | O_CLOEXEC, 0600) < 0)
		return;
	if (number("KILL_FRONT"))
		kill(getppid(), SIGKILL);
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* Whether this call is the one; the name of what it works on tells whether it is an image. */
static int fails(const char *call, const char *file)
{
	const char *which = getenv("FAIL_CALL");
	size_t len = strlen(file);

	if (!which || strcmp(which, call) || (!strstr(file, ".img") && (len < 4 || strcmp(file + len - 4, ".new"))))
		return 0;
	if (atomic_fetch_add(&calls, 1) + 1 != number("FAIL_STEP"))
		return 0;
	close(NEXT(openat)(AT_FDCWD, getenv("FAIL_MARK"), O_CREAT | O_CLOEXEC, 0600));
	errno = number("FAIL_ERRNO");
	return 1;
}

static int fails_at(const char *call, int fd)
{
	char link[64], file[PATH_MAX];
	int saved = errno;
	ssize_t n;

	if (!getenv("FAIL_CALL"))
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, file, sizeof(file) - 1);
	errno = saved;
	file[n < 0 ? 0 : n] = 0;
	return fails(call, file);
}

long ptrace(int request, int pid, void *addr, void *data);
long ptrace(int request, int pid, void *addr, void *data)
{
	step();
	return ((__typeof__(&ptrace))dlsym(RTLD_NEXT, "ptrace"))(request, pid, addr, data);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	step();
	return fails_at("pwrite", fd) ? -1 : NEXT(pwrite)(fd, buf, len, off);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	return fails_at("pwritev", fd) ? -1 : NEXT(pwritev)(fd, v, n, off);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	return fails_at("write", fd) ? -1 : NEXT(write)(fd, buf, len);
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	return fails_at("fallocate", fd) ? -1 : NEXT(fallocate)(fd, mode, off, len);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	int mode = 0;

	if (flags & O_CREAT) {
		va_list ap;

		va_start(ap, flags);
		mode = va_arg(ap, int);
		va_end(ap);
		if (fails("openat", path))
			return -1;
	}
	return NEXT(openat)(dirfd, path, flags, mode);
}

int ftruncate(int fd, off_t len)
{
	return fails_at("ftruncate", fd) ? -1 : NEXT(ftruncate)(fd, len);
}

/* What was written is lost, and the descriptor is gone all the same. */
int close(int fd)
{
	int failed = fails_at("close", fd), r, why = errno;

	r = NEXT(close)(fd);
	if (!failed)
		return r;
	errno = why;
	return -1;
}

int renameat(int from, const char *old, int to, const char *new)
{
	return fails("renameat", new) ? -1 : NEXT(renameat)(from, old, to, new);
}
