/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that are no descriptors of any task: what a mapping, "exe", "cwd" or "root" points to. One entry serves all
 * tasks: a restore opens it once.
 */
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "dump/dt.h"

struct linked {
	dev_t dev;
	ino_t ino;
	const char *name;
	uint32_t id;
};

struct linked_files {
	struct linked **v;
	size_t n;
};

static struct linked_files *linked_files(struct dumping *d)
{
	if (!d->linked)
		d->linked = arena_alloc(d->a, sizeof(*d->linked));
	return d->linked;
}

static int dump_linked(struct dumping *d, const struct fd_facts *f, uint32_t *ret_id)
{
	struct linked_files *all = linked_files(d);
	struct linked *l;
	int err;

	for (size_t i = all->n; i-- > 0;) {
		l = all->v[i];
		if (l->ino == f->st.st_ino && l->dev == f->st.st_dev && !strcmp(l->name, f->link)) {
			*ret_id = l->id;
			return 0;
		}
	}
	err = dumping_file(d, f, ret_id);
	if (err < 0)
		return err;
	l = arena_alloc(d->a, sizeof(*l));
	*l = (struct linked){ f->st.st_dev, f->st.st_ino, f->link, *ret_id };
	arena_add(d->a, &all->v, &all->n, l);
	return 0;
}

static int proc_fd_of(const struct dumping *d, int32_t pid)
{
	for (size_t i = 0; i < d->ntasks; i++)
		if (d->tasks[i].pid == pid)
			return d->tasks[i].proc_fd;
	return err_say(ESRCH, "task %d is not one of the tree", pid);
}

int dumping_link(struct dumping *d, int32_t pid, const char *link, uint32_t *ret_id)
{
	struct fd_facts f = { .pid = pid, .tfd = -1, .fdinfo = "", .mnt_id = -1 };
	int proc_fd = proc_fd_of(d, pid), err;
	auto_close int fd = -1;
	char *target;

	if (proc_fd < 0)
		return proc_fd;
	err = proc_link(proc_fd, link, d->a, &target);
	if (err < 0)
		return err;
	fd = proc_link_open(proc_fd, link, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		fd = proc_link_open(proc_fd, link, O_PATH);
	if (fd < 0)
		return fd;
	f.fd = fd;
	f.link = target;
	err = files_look(&f);
	if (err >= 0)
		err = dump_linked(d, &f, ret_id);
	return err_ctx(err, "%s", link);
}

int dumping_named(struct dumping *d, int32_t pid, const char *name, dev_t dev, ino_t ino, uint32_t *ret_id)
{
	struct fd_facts f = { .pid = pid, .tfd = -1, .fdinfo = "", .mnt_id = -1, .link = name };
	auto_close int fd = -1;
	struct stat st;
	int err;

	/* what is no regular file must not even be opened */
	if (name[0] != '/' || fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0 ||
	    !S_ISREG(st.st_mode) || st.st_dev != dev || st.st_ino != ino)
		return 0;
	fd = open(name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return 0;
	f.fd = fd;
	err = files_look(&f);
	if (err < 0 || f.st.st_dev != dev || f.st.st_ino != ino) /* replaced meanwhile */
		return err;
	err = dump_linked(d, &f, ret_id);
	return err < 0 ? err_ctx(err, "%s", name) : 1;
}
