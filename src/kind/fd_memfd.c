/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfd: an open description of a shared memory object (shmem.h). Mappings of
 * such objects get a file entry too, which is nobody's descriptor.
 *
 * Every description is opened anew through /proc/self/fd, also the writable ones:
 * the object's own descriptor stays the engine's.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "kind/description.h"
#include "kind/shmem.h"

static bool memfd_match(const struct fd_facts *f)
{
	if (!S_ISREG(f->st.st_mode) || f->link[0] != '/')
		return false;
	if (!strncmp(f->link, "/memfd:", 7))
		return f->fs_magic == HUGETLBFS_MAGIC || shmem_is_device(f->st.st_dev);
	/* SysV segments and drivers' objects: dump refuses them by name */
	return f->st.st_nlink == 0 && shmem_is_device(f->st.st_dev);
}

static int memfd_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	MemfdFileEntry *m = arena_msg(d->a, memfd_file_entry, MemfdFileEntry);
	int err = shmem_of(d, f, &m->inode_id);

	if (err < 0)
		return err;
	m->id = e->id;
	if (f->tfd >= 0) { /* a mapping's file has none of them */
		m->flags = f->flags;
		m->pos = f->pos;
	}
	m->fown = f->tfd >= 0 ? dumping_fown(d, f->fd) : arena_msg(d->a, fown_entry, FownEntry);
	e->memfd = m;
	return 0;
}

static int memfd_check(struct restoring *r, const FileEntry *e)
{
	uint64_t shmid;

	return shmem_of_file(r, e, &shmid);
}

static int memfd_open(struct restoring *r, const FileEntry *e)
{
	auto_close int fd = -1;
	uint64_t shmid;
	int err = shmem_of_file(r, e, &shmid);

	if (err >= 0)
		err = shmem_open(r, shmid);
	if (err < 0)
		return err;
	fd = description_reopen(err, e->memfd->flags);
	if (fd >= 0 && e->memfd->pos && lseek(fd, (off_t)e->memfd->pos, SEEK_SET) < 0)
		return err_set(errno, "seek to %" PRIu64, e->memfd->pos);
	return take_fd(&fd);
}

static int memfd_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	(void)r;
	description_owner(e->memfd->fown, tfd, p);
	return 0;
}

static void memfd_describe(const FileEntry *e, char *text, size_t len)
{
	if (e->memfd)
		snprintf(text, len, "object %u at %" PRIu64, e->memfd->inode_id, e->memfd->pos);
}

const struct kind_fd kind_fd_memfd = {
	.name = "memfd",
	.type = FD_TYPES__MEMFD,
	.match = memfd_match,
	.dump = memfd_dump,
	.check = memfd_check,
	.open = memfd_open,
	.emit = memfd_emit,
	.describe = memfd_describe,
};
