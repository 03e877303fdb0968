/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory objects of a restore (shmem.h). Runs in the engine, single-threaded.
 *
 * Shared anonymous memory is made by mmap() and not by memfd_create(), so that
 * its mappings read "/dev/zero (deleted)" again and not "/memfd:...". Its file is
 * reached through /proc/self/map_files; where that is not allowed, a memfd stands in.
 *
 * The images of older engines know no memfd for shared anonymous memory: mappings
 * name the shmid themselves, and the object is as large as the furthest of them.
 */
#include "kind/shmem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "kind/description.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

struct object {
	uint64_t shmid, size;
	const MemfdInodeEntry *inode; /* NULL: known from mappings alone */
	int fd, ro_fd;                /* -1: not yet */
};

struct objects {
	struct object **v;
	size_t n;
};

static struct object *object_add(struct restoring *r, struct objects *all, uint64_t shmid)
{
	struct object *o = arena_alloc(r->a, sizeof(*o));

	*o = (struct object){ .shmid = shmid, .fd = -1, .ro_fd = -1 };
	arena_add(r->a, &all->v, &all->n, o);
	return o;
}

static struct object *object_find(const struct objects *all, uint64_t shmid)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i]->shmid == shmid)
			return all->v[i];
	return NULL;
}

static void add_mapped(struct restoring *r, struct objects *all, const VmaEntry *v)
{
	struct object *o;
	uint64_t end = v->pgoff + (v->end - v->start);

	if (!(v->status & VMA_ANON_SHARED) || (v->status & VMA_AREA_SYSVIPC))
		return;
	o = object_find(all, v->shmid);
	if (!o)
		o = object_add(r, all, v->shmid);
	if (!o->inode && end > o->size)
		o->size = end;
}

static struct objects *objects(struct restoring *r)
{
	const struct img_msgs *inodes = &r->snap->list[IMG_MEMFD];
	struct objects *all = r->kind_state[KIND_STATE_SHMEM];

	if (all)
		return all;
	all = r->kind_state[KIND_STATE_SHMEM] = arena_alloc(r->a, sizeof(*all));
	for (size_t i = 0; i < inodes->n; i++) {
		const MemfdInodeEntry *m = (const MemfdInodeEntry *)inodes->v[i].msg;
		struct object *o = object_add(r, all, m->shmid);

		o->inode = m;
		o->size = m->size;
	}
	for (size_t i = 0; i < r->snap->ntasks; i++)
		for (size_t k = 0; r->snap->tasks[i]->mm && k < r->snap->tasks[i]->mm->n_vmas; k++)
			add_mapped(r, all, r->snap->tasks[i]->mm->vmas[k]);
	return all;
}

/* The file behind a fresh piece of shared anonymous memory. -errno without a trail: there is another way. */
static int make_anonymous(uint64_t size)
{
	const int flags = MAP_SHARED | MAP_ANONYMOUS;
	char path[64];
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	int fd;

	if (p == MAP_FAILED)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, (uintptr_t)p, (uintptr_t)p + size);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	munmap(p, size);
	return fd;
}

static int make_memfd(const char *name, uint64_t size, uint32_t seals)
{
	unsigned flags = MFD_CLOEXEC | (seals == F_SEAL_SEAL ? 0 : MFD_ALLOW_SEALING);
	auto_close int fd = memfd_create(name, flags | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* before 6.3 */
		fd = memfd_create(name, flags);
	if (fd < 0)
		return err_set(errno, "memfd_create(%s)", name);
	if (size && ftruncate(fd, (off_t)size) < 0)
		return err_set(errno, "give memfd %s its %" PRIu64 " bytes", name, size);
	return take_fd(&fd);
}

static int set_owner(int fd, const MemfdInodeEntry *m)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(errno, "stat memfd %s", m->name);
	if ((st.st_uid != m->uid || st.st_gid != m->gid) && fchown(fd, m->uid, m->gid) < 0)
		return err_set(errno, "give memfd %s to %u:%u", m->name, m->uid, m->gid);
	if (m->has_mode && (st.st_mode & 07777) != (m->mode & 07777) && fchmod(fd, m->mode & 07777) < 0)
		return err_set(errno, "set the mode of memfd %s to 0%o", m->name, m->mode & 07777);
	return 0;
}

static int object_make(const struct object *o)
{
	const MemfdInodeEntry *m = o->inode;
	bool anonymous = !m || (!strcmp(m->name, "/dev/zero") && m->seals == F_SEAL_SEAL);
	auto_close int fd = -1;
	int err;

	if (m && m->has_hugetlb_flag && m->hugetlb_flag)
		return err_say(ENOTSUP, "memfd %s on huge pages is not supported yet", m->name);
	if (o->size > INT64_MAX)
		return err_say(EINVAL, "%" PRIu64 " bytes are no size", o->size);
	if (anonymous && o->size && !(o->size % SNAP_PAGE))
		fd = make_anonymous(o->size);
	if (fd < 0)
		fd = make_memfd(m ? m->name : "/dev/zero", o->size, m ? m->seals : F_SEAL_SEAL);
	err = fd < 0 ? fd : m ? set_owner(fd, m) : 0;
	return err < 0 ? err : take_fd(&fd);
}

static int in_no_image(uint64_t shmid)
{
	return err_say(EINVAL, "shared memory object %" PRIu64 " is in no image", shmid);
}

int shmem_open(struct restoring *r, uint64_t shmid)
{
	struct object *o = object_find(objects(r), shmid);
	int err;

	if (!o || o->fd >= 0)
		return o ? o->fd : in_no_image(shmid);
	err = object_make(o);
	if (err >= 0)
		err = restoring_adopt(r, err);
	if (err < 0)
		return err_ctx(err, "shared memory object %" PRIu64, shmid);
	return o->fd = err;
}

int shmem_open_for_map(struct restoring *r, uint64_t shmid, bool writable)
{
	int fd = shmem_open(r, shmid);
	struct object *o = object_find(objects(r), shmid);

	if (fd < 0 || writable || !o)
		return fd;
	if (o->ro_fd >= 0)
		return o->ro_fd;
	fd = description_reopen(o->fd, O_RDONLY);
	if (fd >= 0)
		fd = restoring_adopt(r, fd);
	return fd < 0 ? fd : (o->ro_fd = fd);
}

int shmem_of_file(const struct restoring *r, const FileEntry *e, uint64_t *ret_shmid)
{
	const struct img_msgs *inodes = &r->snap->list[IMG_MEMFD];

	for (size_t i = 0; e->memfd && i < inodes->n; i++) {
		const MemfdInodeEntry *m = (const MemfdInodeEntry *)inodes->v[i].msg;

		if (m->inode_id == e->memfd->inode_id) {
			*ret_shmid = m->shmid;
			return 0;
		}
	}
	return err_say(EINVAL, "file %u: its memory object is not in memfd.img", e->id);
}

int shmem_seal_all(struct restoring *r)
{
	const struct objects *all = objects(r);

	for (size_t i = 0; i < all->n; i++) {
		const struct object *o = all->v[i];

		if (o->fd < 0 || !o->inode || !o->inode->seals || o->inode->seals == F_SEAL_SEAL)
			continue;
		if (fcntl(o->fd, F_ADD_SEALS, o->inode->seals) < 0)
			return err_set(errno, "seal memfd %s with %#x", o->inode->name, o->inode->seals);
	}
	return 0;
}
