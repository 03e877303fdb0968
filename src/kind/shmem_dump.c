/* SPDX-License-Identifier: Apache-2.0 */
/* Shared memory objects of a dump (shmem.h). Runs in the engine's main thread. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "kind/description.h"
#include "kind/shmem.h"

#define DELETED " (deleted)"

struct objects {
	struct shmem_object **v;
	size_t n;
};

bool shmem_is_device(uint64_t dev)
{
	auto_close int fd = memfd_create("thaw", MFD_CLOEXEC);
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && st.st_dev == dev;
}

static struct objects *objects(const struct dumping *d)
{
	return d->kind_state[KIND_STATE_SHMEM];
}

static struct shmem_object *object_find(const struct objects *all, uint64_t ino)
{
	for (size_t i = 0; all && i < all->n; i++)
		if (all->v[i]->ino == ino)
			return all->v[i];
	return NULL;
}

/* "/memfd:NAME (deleted)" -> "NAME"; shared anonymous memory is "/dev/zero". NULL: neither. */
static char *object_name(struct arena *a, const char *link)
{
	size_t len = strlen(link);
	char *name;

	if (len > strlen(DELETED) && !strcmp(link + len - strlen(DELETED), DELETED))
		len -= strlen(DELETED);
	name = arena_memdup(a, link, len + 1);
	name[len] = 0;
	if (!strncmp(name, "/memfd:", 7))
		return name + 7;
	return strcmp(name, "/dev/zero") ? NULL : name;
}

static MemfdInodeEntry *inode_of(struct dumping *d, const struct fd_facts *f, char *name, uint32_t number)
{
	MemfdInodeEntry *m = arena_msg(d->a, memfd_inode_entry, MemfdInodeEntry);

	m->name = name;
	m->uid = f->st.st_uid;
	m->gid = f->st.st_gid;
	m->size = (uint64_t)f->st.st_size;
	m->shmid = number;
	m->inode_id = number;
	m->has_mode = true;
	m->mode = f->st.st_mode;
	return m;
}

static int object_add(struct dumping *d, const struct fd_facts *f, struct shmem_object **ret)
{
	struct objects *all = objects(d);
	struct shmem_object *o = arena_alloc(d->a, sizeof(*o));
	char *name = object_name(d->a, f->link);
	int seals;

	if (!name || !shmem_is_device(f->st.st_dev))
		return err_say(ENOTSUP, "%s on internal memory or huge pages is not supported yet", f->link);
	o->fd = description_reopen(f->fd, O_RDONLY);
	if (o->fd < 0)
		return o->fd;
	seals = fcntl(o->fd, F_GET_SEALS);
	if (seals < 0) {
		close(o->fd);
		return err_set(errno, "read the seals of %s", f->link);
	}
	o->ino = f->st.st_ino;
	o->shmid = all->n + 1;
	o->size = (uint64_t)f->st.st_size;
	o->inode = inode_of(d, f, name, (uint32_t)o->shmid);
	o->inode->seals = (uint32_t)seals;
	snap_add(d->snap, IMG_MEMFD, &o->inode->base);
	arena_add(d->a, &all->v, &all->n, o);
	*ret = o;
	return 0;
}

int shmem_of(struct dumping *d, const struct fd_facts *f, uint32_t *ret_inode_id)
{
	struct shmem_object *o;
	int err = 0;

	if (!objects(d))
		d->kind_state[KIND_STATE_SHMEM] = arena_alloc(d->a, sizeof(struct objects));
	o = object_find(objects(d), f->st.st_ino);
	if (!o)
		err = object_add(d, f, &o);
	if (!o)
		return err;
	*ret_inode_id = (uint32_t)o->inode->inode_id;
	return 0;
}

size_t shmem_list(const struct dumping *d, struct shmem_object *const **ret_objects)
{
	if (!objects(d))
		return 0;
	*ret_objects = objects(d)->v;
	return objects(d)->n;
}

void shmem_done(struct dumping *d)
{
	struct objects *all = objects(d);

	for (size_t i = 0; all && i < all->n; i++) {
		close(all->v[i]->fd);
		all->v[i]->fd = -1;
	}
	d->kind_state[KIND_STATE_SHMEM] = NULL;
}
