/* SPDX-License-Identifier: Apache-2.0 */
/* Trying io_uring (uring.h). By bare system calls, since the page workers use it so, with or without liburing here. */
#include "kern/uring.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

static int refused(char *reason, const char *what)
{
	int err = errno;

	snprintf(reason, URING_REASON_LEN, "%s: %s", what, strerror(err));
	return -err;
}

/* An administrator's word is a better reason than EPERM. */
static int setup_refused(char *reason)
{
	auto_free char *mode = NULL;
	int err = refused(reason, "io_uring_setup");

	if (err == -EPERM && io_slurp(AT_FDCWD, "/proc/sys/kernel/io_uring_disabled", &mode) > 0 && *mode != '0')
		snprintf(reason, URING_REASON_LEN, "kernel.io_uring_disabled is %.1s", mode);
	return err;
}

int uring_try(unsigned entries, char reason[URING_REASON_LEN])
{
	const int none = -1;
	struct io_uring_params p = { 0 };
	auto_close int fd = (int)syscall(SYS_io_uring_setup, entries, &p);
	size_t len;
	void *sqes;

	if (fd < 0)
		return setup_refused(reason);
	if (!(p.features & IORING_FEAT_SINGLE_MMAP)) {
		snprintf(reason, URING_REASON_LEN, "the kernel is too old");
		return -ENOSYS;
	}
	if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_FILES, &none, 1) < 0)
		return refused(reason, "io_uring_register");
	if (syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0) < 0)
		return refused(reason, "io_uring_enter");
	len = p.sq_entries * sizeof(struct io_uring_sqe);
	sqes = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
	if (sqes == MAP_FAILED)
		return refused(reason, "map the rings");
	munmap(sqes, len);
	return 0;
}
