/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an open file is to be found again (file_place.h). Runs in the engine, at dump.
 *
 * What /proc/PID/fd/N says is a hint and nothing more: the name may have been
 * taken by another file, may lie under a mount, may belong to another mount
 * namespace, and a file may really be called "x (deleted)". The proof is always
 * the same: the name, looked up here and now, leads to the same device and inode.
 */
#include "kind/file_place.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>

static const char deleted[] = " (deleted)";

static bool leads_to(const char *name, const struct stat *st)
{
	struct stat there;

	if (fstatat(AT_FDCWD, name, &there, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return false;
	return there.st_dev == st->st_dev && there.st_ino == st->st_ino;
}

static char *deleted_strip(struct arena *a, const char *link)
{
	size_t len = strlen(link), tail = sizeof(deleted) - 1;

	if (len <= tail || strcmp(link + len - tail, deleted))
		return NULL;
	return arena_printf(a, "%.*s", (int)(len - tail), link);
}

char *file_place_dir(struct arena *a, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash != path ? arena_printf(a, "%.*s", (int)(slash - path), path) : arena_strdup(a, "/");
}

const char *file_place_type(mode_t mode)
{
	static const char *const name[16] = {
		[S_IFREG >> 12] = "regular file",     [S_IFDIR >> 12] = "directory",
		[S_IFLNK >> 12] = "symbolic link",    [S_IFIFO >> 12] = "fifo",
		[S_IFCHR >> 12] = "character device", [S_IFSOCK >> 12] = "unix socket",
		[S_IFBLK >> 12] = "block device",
	};

	return name[(mode & S_IFMT) >> 12] ?: "file of unknown type";
}

static int mount_of(int dirfd, const char *path, uint64_t *ret_id)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*path ? 0 : AT_EMPTY_PATH);
	struct statx sx;

	if (statx(dirfd, path, flags, STATX_MNT_ID, &sx) < 0)
		return -errno;
	*ret_id = sx.stx_mnt_id;
	return 0;
}

/* Could a file be made at name that is on the mount of f? Looks at the nearest directory that is left. */
static bool mount_is_same(struct arena *a, int fd, const char *name)
{
	uint64_t file_mnt = 0, dir_mnt = 0;
	int r = -ENOENT;

	while (r == -ENOENT && strcmp(name, "/")) {
		name = file_place_dir(a, name);
		r = mount_of(AT_FDCWD, name, &dir_mnt);
	}
	return r >= 0 && mount_of(fd, "", &file_mnt) >= 0 && file_mnt == dir_mnt;
}

static int gone_find(struct dumping *d, const struct fd_facts *f, const char *name, struct file_place *ret)
{
	if (f->fs_magic == PROC_SUPER_MAGIC)
		return err_say(ENOTSUP, "%s belongs to a task that has ended, which is not supported yet", name);
	if (!mount_is_same(d->a, f->fd, name))
		return err_say(ENOTSUP, "%s was deleted, and its file system is not mounted there for thaw: not supported yet",
			       name);
	/* Some file systems give a removed directory a link count. */
	*ret = (struct file_place){
		.name = name,
		.state = !f->st.st_nlink || S_ISDIR(f->st.st_mode) ? FILE_GONE : FILE_RENAMED,
	};
	return 0;
}

int file_place_find(struct dumping *d, const struct fd_facts *f, struct file_place *ret)
{
	const char *name;

	if (f->link[0] != '/')
		return err_say(ENOTSUP, "%s is not supported yet", f->link);
	*ret = (struct file_place){ .name = arena_strdup(d->a, f->link), .state = FILE_HERE };
	if (leads_to(f->link, &f->st))
		return 0;
	name = deleted_strip(d->a, f->link);
	if (!name)
		return err_say(ENOTSUP, "%s: that name leads to no such file here (something is mounted over it, or the task "
			       "is in another mount namespace), which is not supported yet", f->link);
	ret->name = name;
	return leads_to(name, &f->st) ? 0 : gone_find(d, f, name, ret);
}
