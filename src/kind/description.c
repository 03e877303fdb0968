/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open file descriptions (description.h).
 *
 * The owner is set by a record in the task, not by the engine: the process it
 * names exists only then. It is set with root's credentials, so what the kernel
 * remembers of the setter's IDs is root's and not fown.uid: a wider permission
 * to send SIGIO than the task had, and only to that one process.
 */
#include "kind/description.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/io.h"

int description_info(struct dumping *d, const struct fd_facts *f, struct fdinfo *ret)
{
	char path[64];
	char *text;
	ssize_t len;

	*ret = (struct fdinfo){ .tfd = f->tfd, .flags = f->flags, .pos = f->pos, .rest = f->fdinfo };
	if (f->fdinfo && f->fdinfo[0])
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", f->fd);
	len = io_slurp(AT_FDCWD, path, &text);
	if (len < 0)
		return (int)len;
	ret->rest = arena_strdup(d->a, text);
	free(text);
	return 0;
}

int description_reopen(int fd, uint32_t flags)
{
	char path[64];
	int new_fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	new_fd = open(path, (int)(flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC)) | O_CLOEXEC | O_NOCTTY);
	if (new_fd < 0)
		return err_set(errno, "open descriptor %d anew with flags 0%o", fd, flags);
	return new_fd;
}

int description_flags(int fd, uint32_t flags)
{
	const uint32_t settable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;
	int now = fcntl(fd, F_GETFL);

	if (now < 0)
		return err_set(errno, "F_GETFL");
	if (((uint32_t)now & settable) == (flags & settable))
		return 0;
	if (fcntl(fd, F_SETFL, (int)(flags & settable)) < 0)
		return err_set(errno, "F_SETFL 0%o", flags);
	return 0;
}

void description_owner(const FownEntry *fown, int tfd, struct prog *p)
{
	const struct f_owner_ex owner = { .type = (int)fown->pid_type, .pid = (pid_t)fown->pid };

	if (fown->signum) {
		prog_label(p, "fd %d: signal %u for I/O", tfd, fown->signum);
		prog_sys(p, SYS_fcntl, (uint64_t)tfd, F_SETSIG, fown->signum);
	}
	if (!fown->pid)
		return;
	prog_label(p, "fd %d: owner %u", tfd, fown->pid);
	/* a thread that is no leader does not exist yet: better without its signal than not at all */
	prog_call(p, owner.type == F_OWNER_TID ? PROG_MAY_FAIL : 0, SYS_fcntl,
		  PROG_ARGS((uint64_t)tfd, F_SETOWN_EX, prog_data(p->space, &owner, sizeof(owner))));
}

void description_async(uint32_t flags, int tfd, struct prog *p)
{
	const int off = 0, on = 1;

	if (!(flags & O_ASYNC))
		return;
	prog_label(p, "fd %d: O_ASYNC", tfd);
	prog_sys(p, SYS_ioctl, (uint64_t)tfd, FIOASYNC, prog_data(p->space, &off, sizeof(off)));
	prog_sys(p, SYS_ioctl, (uint64_t)tfd, FIOASYNC, prog_data(p->space, &on, sizeof(on)));
}
