/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eventfd: a counter. It is read from fdinfo, because reading the descriptor
 * would take the events away. EFD_SEMAPHORE, which fcntl does not show, lies in
 * bit 0 of the flags: the access mode O_RDWR (2) leaves that bit free. Before
 * 6.5 the kernel does not tell it, and such an eventfd comes back as a plain one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kind/description.h"

static bool eventfd_match(const struct fd_facts *f)
{
	return !strcmp(f->link, "anon_inode:[eventfd]");
}

static int eventfd_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	EventfdFileEntry *efd = arena_msg(d->a, eventfd_file_entry, EventfdFileEntry);
	struct fdinfo_eventfd now;
	struct fdinfo info;
	int err;

	err = description_info(d, f, &info);
	if (err >= 0)
		err = fdinfo_eventfd(&info, &now);
	if (err < 0)
		return err;
	efd->id = e->id;
	efd->flags = f->flags | (now.semaphore ? EFD_SEMAPHORE : 0);
	efd->counter = now.count;
	efd->fown = dumping_fown(d, f->fd);
	e->efd = efd;
	return 0;
}

static int eventfd_check(struct restoring *r, const FileEntry *e)
{
	(void)r;
	if (!e->efd)
		return err_say(EINVAL, "the entry has no eventfd in it");
	if (e->efd->counter == UINT64_MAX)
		return err_say(EINVAL, "a counter cannot be %" PRIu64, e->efd->counter);
	return 0;
}

static int eventfd_open(struct restoring *r, const FileEntry *e)
{
	uint64_t counter = e->efd->counter;
	auto_close int fd = eventfd(0, EFD_CLOEXEC | (int)(e->efd->flags & EFD_SEMAPHORE));
	int err;

	(void)r;
	if (fd < 0)
		return err_set(errno, "eventfd()");
	err = counter ? io_write(fd, &counter, sizeof(counter)) : 0;
	if (err < 0)
		return err_set(-err, "set the counter to %" PRIu64, counter);
	err = description_flags(fd, e->efd->flags);
	return err < 0 ? err : take_fd(&fd);
}

static int eventfd_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	description_owner(e->efd->fown, tfd, p);
	return 0;
}

static void eventfd_describe(const FileEntry *e, char *text, size_t len)
{
	if (e->efd)
		snprintf(text, len, "counter %" PRIu64 "%s", e->efd->counter,
			 e->efd->flags & EFD_SEMAPHORE ? ", semaphore" : "");
}

const struct kind_fd kind_fd_eventfd = {
	.name = "eventfd",
	.type = FD_TYPES__EVENTFD,
	.match = eventfd_match,
	.dump = eventfd_dump,
	.check = eventfd_check,
	.open = eventfd_open,
	.emit = eventfd_emit,
	.describe = eventfd_describe,
};
