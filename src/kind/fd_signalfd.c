/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signalfd: a signal mask. Which task's signals it tells is decided by who reads it,
 * so there is nothing else to it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "kind/description.h"

static bool signalfd_match(const struct fd_facts *f)
{
	return !strcmp(f->link, "anon_inode:[signalfd]");
}

static int signalfd_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	SignalfdEntry *sgfd = arena_msg(d->a, signalfd_entry, SignalfdEntry);
	struct fdinfo info;
	int err;

	err = description_info(d, f, &info);
	if (err >= 0)
		err = fdinfo_signalfd(&info, &sgfd->sigmask);
	if (err < 0)
		return err;
	sgfd->id = e->id;
	sgfd->flags = f->flags;
	sgfd->fown = dumping_fown(d, f->fd);
	e->sgfd = sgfd;
	return 0;
}

static int signalfd_check(struct restoring *r, const FileEntry *e)
{
	(void)r;
	return e->sgfd ? 0 : err_say(EINVAL, "the entry has no signalfd in it");
}

static int signalfd_open(struct restoring *r, const FileEntry *e)
{
	/* the kernel's mask of 64 signals, not libc's sigset_t */
	uint64_t mask = e->sgfd->sigmask;
	auto_close int fd = (int)syscall(SYS_signalfd4, -1, &mask, sizeof(mask), SFD_CLOEXEC);
	int err;

	(void)r;
	if (fd < 0)
		return err_set(errno, "signalfd()");
	err = description_flags(fd, e->sgfd->flags);
	return err < 0 ? err : take_fd(&fd);
}

static int signalfd_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	description_owner(e->sgfd->fown, tfd, p);
	return 0;
}

static void signalfd_describe(const FileEntry *e, char *text, size_t len)
{
	if (e->sgfd)
		snprintf(text, len, "signals %#" PRIx64, e->sgfd->sigmask);
}

const struct kind_fd kind_fd_signalfd = {
	.name = "signalfd",
	.type = FD_TYPES__SIGNALFD,
	.match = signalfd_match,
	.dump = signalfd_dump,
	.check = signalfd_check,
	.open = signalfd_open,
	.emit = signalfd_emit,
	.describe = signalfd_describe,
};
