/* SPDX-License-Identifier: Apache-2.0 */
/* Files of unix sockets, as the dump finds them (unix_path.h). Runs in the engine. */
#include "kind/unix_path.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

int unix_path_open(int fd)
{
	return ioctl(fd, SIOCUNIXFILE);
}

static bool same_file(int dirfd, const char *name, const struct stat *st)
{
	struct stat at;

	return fstatat(dirfd, name, &at, 0) == 0 && at.st_dev == st->st_dev && at.st_ino == st->st_ino;
}

/* The directory that a relative name starts from: the file's path without the name, or where the task is now. */
static int dump_dir(struct dumping *d, int32_t pid, const char *name, const char *path, const struct stat *st,
		    UnixSkEntry *e)
{
	auto_close int dir = -1;
	char cwd[PATH_MAX], link[64];
	const char *tail = name;
	size_t path_len = strlen(path), tail_len;
	ssize_t n;

	while (!strncmp(tail, "./", 2))
		tail += 2;
	tail_len = strlen(tail);
	if (path_len > tail_len && path[path_len - tail_len - 1] == '/' && !strcmp(path + path_len - tail_len, tail)) {
		tail_len += path_len - tail_len > 1; /* without the slash, unless it is the root */
		e->name_dir = arena_printf(d->a, "%.*s", (int)(path_len - tail_len), path);
		return 0;
	}
	snprintf(link, sizeof(link), "/proc/%d/cwd", pid);
	n = readlink(link, cwd, sizeof(cwd) - 1);
	dir = open(link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (n <= 0 || dir < 0 || !same_file(dir, name, st))
		return err_say(ENOTSUP, "unix socket \"%s\": the directory it was bound in is not known, its file is %s", name,
			       path);
	e->name_dir = arena_printf(d->a, "%.*s", (int)n, cwd);
	return 0;
}

int unix_path_dump(struct dumping *d, const struct fd_facts *f, const char *name, UnixSkEntry *e)
{
	static const char gone[] = " (deleted)";
	auto_close int file = unix_path_open(f->fd);
	char link[64], path[PATH_MAX];
	FilePermsEntry *perms = arena_msg(d->a, file_perms_entry, FilePermsEntry);
	struct stat st;
	ssize_t n;

	if (file < 0)
		return err_set(errno, "find the file of unix socket %s", name);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 || fstat(file, &st) < 0)
		return err_set(errno, "look at the file of unix socket %s", name);
	path[n] = 0;
	if (st.st_nlink == 0) {
		e->has_deleted = e->deleted = true;
		if ((size_t)n > sizeof(gone) && !strcmp(path + n - (sizeof(gone) - 1), gone))
			path[(size_t)n - (sizeof(gone) - 1)] = 0;
	}
	perms->mode = st.st_mode;
	perms->uid = st.st_uid;
	perms->gid = st.st_gid;
	e->file_perms = perms;
	if (name[0] != '/')
		return dump_dir(d, f->pid, name, path, &st, e);
	if (st.st_nlink && !same_file(AT_FDCWD, name, &st))
		return err_say(ENOTSUP, "unix socket %s: its file is %s now, which is not supported yet", name, path);
	return 0;
}
