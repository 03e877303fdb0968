/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings of files. A dump names a file once, however many mappings it has: a
 * process has four of each library, and a tree the same ones in every task.
 *
 * The file entry says how a descriptor was opened, which says nothing about the
 * mapping: a shared one that may be written needs O_RDWR, and one that may not
 * must not get it (mprotect() would then allow what it did not). So fdflags
 * decides, and where the entry's description is not that, it is opened anew.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "kind/description.h"
#include "kind/vma.h"

/* A file as a mapping shows it. */
struct mapped {
	uint64_t ino;
	uint32_t dev_major, dev_minor;
	const char *name;
	uint32_t id;
};

/* A description of our own for mappings of file `id`. */
struct opened {
	uint32_t id;
	int mode, fd;
};

struct mapped_files {
	struct mapped **v;
	size_t n;
};

struct opened_files {
	struct opened **v;
	size_t n;
};

static bool file_match(const struct map *m)
{
	return m->name[0] && m->name[0] != '[';
}

static int refuse_special(const struct dump_task *t, const struct map *m)
{
	char path[96];
	const char *what = NULL;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start_va, m->end_va);
	if (!strncmp(m->name, "/[aio]", 6))
		what = "an asynchronous I/O ring";
	else if (!strncmp(m->name, "socket:", 7))
		what = "a socket's ring";
	else if (stat(path, &st) < 0)
		return err_set(errno, "stat %s", path);
	else if (S_ISCHR(st.st_mode) && st.st_rdev != makedev(1, 5)) /* /dev/zero: private memory by another name */
		what = "device memory";
	else if (!S_ISCHR(st.st_mode) && !S_ISREG(st.st_mode))
		what = "such a mapping";
	return what ? err_say(ENOTSUP, "%s is not supported yet", what) : 0;
}

static struct mapped_files *mapped_files(struct dumping *d)
{
	if (!d->kind_state[KIND_STATE_MAPPED])
		d->kind_state[KIND_STATE_MAPPED] = arena_alloc(d->a, sizeof(struct mapped_files));
	return d->kind_state[KIND_STATE_MAPPED];
}

static const struct mapped *mapped_find(const struct mapped_files *all, const struct map *m)
{
	for (size_t i = all->n; i-- > 0;) {
		const struct mapped *f = all->v[i];

		if (f->ino == m->ino && f->dev_major == m->dev_major && f->dev_minor == m->dev_minor &&
		    !strcmp(f->name, m->name))
			return f;
	}
	return NULL;
}

static int file_name(struct dumping *d, const struct dump_task *t, const struct map *m, uint32_t *ret_id)
{
	int r = dumping_named(d, t->pid, m->name, makedev(m->dev_major, m->dev_minor), m->ino, ret_id);
	char link[64];

	if (r)
		return r;
	r = refuse_special(t, m);
	if (r < 0)
		return r;
	snprintf(link, sizeof(link), "map_files/%" PRIx64 "-%" PRIx64, m->start_va, m->end_va);
	return dumping_link(d, t->pid, link, ret_id);
}

static int file_id(struct dumping *d, const struct dump_task *t, const struct map *m, uint32_t *ret_id)
{
	struct mapped_files *all = mapped_files(d);
	const struct mapped *known = mapped_find(all, m);
	struct mapped *f;
	int err;

	if (known) {
		*ret_id = known->id;
		return 0;
	}
	err = file_name(d, t, m, ret_id);
	if (err < 0)
		return err_ctx(err, "mapping %" PRIx64 "-%" PRIx64 " (%s)", m->start_va, m->end_va, m->name);
	f = arena_alloc(d->a, sizeof(*f));
	*f = (struct mapped){ m->ino, m->dev_major, m->dev_minor, m->name, *ret_id };
	arena_add(d->a, &all->v, &all->n, f);
	return 0;
}

static int file_dump(struct dumping *d, struct dump_task *t, const struct map *m, VmaEntry *v)
{
	uint32_t id;
	int err = file_id(d, t, m, &id);

	if (err < 0)
		return err;
	vma_fill(d->a, m, v);
	v->shmid = id;
	v->status |= m->shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE;
	v->has_fdflags = true;
	v->fdflags = m->shared && m->prot & PROT_WRITE ? O_RDWR : O_RDONLY;
	return 0;
}

static bool file_owns(const VmaEntry *v)
{
	return v->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED) && !(v->status & (VMA_AREA_MEMFD | VMA_AREA_SOCKET));
}

/* The engine's own description of file `id` for mappings with this access mode. */
static int open_anew(struct restoring *r, uint32_t id, int fd, int mode)
{
	struct opened_files *all = r->kind_state[KIND_STATE_MAPPED];
	struct opened *o;

	if (!all)
		all = r->kind_state[KIND_STATE_MAPPED] = arena_alloc(r->a, sizeof(*all));
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i]->id == id && all->v[i]->mode == mode)
			return all->v[i]->fd;
	fd = description_reopen(fd, (uint32_t)mode);
	if (fd >= 0)
		fd = restoring_adopt(r, fd);
	if (fd < 0)
		return fd;
	o = arena_alloc(r->a, sizeof(*o));
	*o = (struct opened){ id, mode, fd };
	arena_add(r->a, &all->v, &all->n, o);
	return fd;
}

static int file_fd(struct restoring *r, const VmaEntry *v)
{
	bool shared = (v->flags & MAP_TYPE) != MAP_PRIVATE;
	bool writable = shared && (v->prot & PROT_WRITE || (v->has_fdflags && (v->fdflags & O_ACCMODE) == O_RDWR));
	int need = writable ? O_RDWR : O_RDONLY, have, fd;
	const FileEntry *e = v->shmid <= UINT32_MAX ? snap_file(r->snap, (uint32_t)v->shmid) : NULL;

	if (!e || !e->reg)
		return err_say(EINVAL, "file id %" PRIu64 " is no regular file of files.img", v->shmid);
	have = (int)e->reg->flags & (O_ACCMODE | O_PATH);
	fd = restoring_fd(r, e->id);
	/* a plan opens nothing: its descriptors are stand-ins */
	if (fd < 0 || r->opts->cmd == CMD_PLAN || have == need || (have == O_RDWR && !shared))
		return fd;
	return open_anew(r, e->id, fd, need);
}

static int file_map(struct restoring *r, const struct snap_task *t, const VmaEntry *v, uint32_t prot, struct prog *p)
{
	bool shared = (v->flags & MAP_TYPE) != MAP_PRIVATE;
	int fd = file_fd(r, v);

	(void)t;
	if (fd < 0)
		return err_ctx(fd, "mapping %" PRIx64 "-%" PRIx64, v->start, v->end);
	vma_map(v, shared ? v->prot : prot, shared ? MAP_SHARED : MAP_PRIVATE, fd, p);
	return 0;
}

const struct kind_mem kind_mem_file = {
	.name = "file",
	.match = file_match,
	.dump = file_dump,
	.owns = file_owns,
	.map = file_map,
};
