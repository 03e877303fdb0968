/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings of shared memory objects (shmem.h): shared anonymous memory, and
 * memfds mapped shared or privately. The wire has a memfd file entry for what is
 * mapped and its id in shmid; older images name the object itself (VMA_ANON_SHARED).
 *
 * fdflags tells whether the mapping may become writable. It matters: the kernel
 * refuses F_SEAL_WRITE while such a mapping exists, so one that was made through
 * a read-only descriptor is made through one again.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "kind/shmem.h"
#include "kind/vma.h"

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

static bool shmem_match(const struct map *m)
{
	static const char *const names[] = { "/memfd:", "/dev/zero (deleted)", "/SYSV", "[anon_shmem:" };
	bool named = false;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		named |= starts(m->name, names[i]);
	/* a file on disk may have such a name too */
	return named && shmem_is_device(makedev(m->dev_major, m->dev_minor));
}

static int shmem_dump(struct dumping *d, struct dump_task *t, const struct map *m, VmaEntry *v)
{
	char link[64];
	uint32_t id;
	int err;

	if (starts(m->name, "/SYSV"))
		return err_say(ENOTSUP, "mapping %" PRIx64 "-%" PRIx64 " (%s): SysV shared memory is not supported yet",
			       m->start_va, m->end_va, m->name);
	vma_fill(d->a, m, v);
	snprintf(link, sizeof(link), "map_files/%" PRIx64 "-%" PRIx64, m->start_va, m->end_va);
	err = dumping_link(d, t->pid, link, &id);
	if (err < 0)
		return err_ctx(err, "mapping %" PRIx64 "-%" PRIx64 " (%s)", m->start_va, m->end_va, m->name);
	v->shmid = id;
	v->status |= VMA_AREA_MEMFD | (m->shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE);
	v->has_fdflags = true;
	v->fdflags = m->shared && m->prot & PROT_WRITE ? O_RDWR : O_RDONLY;
	return 0;
}

static bool shmem_owns(const VmaEntry *v)
{
	return v->status & (VMA_AREA_MEMFD | VMA_ANON_SHARED | VMA_AREA_SYSVIPC);
}

static int object_of(struct restoring *r, const VmaEntry *v, uint64_t *ret_shmid)
{
	const FileEntry *e;

	if (!(v->status & VMA_AREA_MEMFD)) {
		*ret_shmid = v->shmid;
		return 0;
	}
	e = v->shmid <= UINT32_MAX ? snap_file(r->snap, (uint32_t)v->shmid) : NULL;
	if (!e)
		return err_say(EINVAL, "mapping %" PRIx64 ": file id %" PRIu64 " is not in files.img", v->start,
			       v->shmid);
	return shmem_of_file(r, e, ret_shmid);
}

static int shmem_map(struct restoring *r, const struct snap_task *t, const VmaEntry *v, uint32_t prot, struct prog *p)
{
	bool shared = (v->flags & MAP_TYPE) != MAP_PRIVATE;
	bool writable = !v->has_fdflags || (v->fdflags & O_ACCMODE) == O_RDWR || v->prot & PROT_WRITE;
	uint64_t shmid = 0;
	int fd;

	(void)t;
	if (v->status & VMA_AREA_SYSVIPC)
		return err_say(ENOTSUP, "mapping %" PRIx64 ": SysV shared memory is not supported yet", v->start);
	fd = object_of(r, v, &shmid);
	if (fd >= 0)
		fd = shmem_open_for_map(r, shmid, shared && writable);
	if (fd < 0)
		return fd;
	vma_map(v, shared ? v->prot : prot, shared ? MAP_SHARED : MAP_PRIVATE, fd, p);
	return 0;
}

const struct kind_mem kind_mem_shmem = {
	.name = "shared memory",
	.match = shmem_match,
	.dump = shmem_dump,
	.owns = shmem_owns,
	.map = shmem_map,
};
