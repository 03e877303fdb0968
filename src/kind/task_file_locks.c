/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File locks: POSIX (of a process), flock and OFD (of a description).
 *
 * A POSIX lock belongs to whoever takes it and goes away when any descriptor of
 * the file is closed in that process, so each is taken in its task, by the
 * leader, when all stray descriptors are closed. The other two could be taken
 * anywhere; in the task the kernel also remembers the same PID.
 *
 * The dump is no question to a task: it needs all descriptors and their ids, and so runs when these are known.
 * flock and OFD locks show up under each descriptor that shares the description, in
 * every task, and POSIX locks under each descriptor of the file: each is written down once.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include "kern/locks.h"
#include "kind/file_locks.h"

/* file_lock_entry.flag (wire format). */
enum { LOCK_FLAG_POSIX = 1, LOCK_FLAG_FLOCK = 2, LOCK_FLAG_OFD = 4, LOCK_FLAG_LEASE = 8 };

struct seen {
	uint32_t file_id; /* of what a description owns, else 0 */
	uint32_t dev_major, dev_minor;
	uint64_t ino;
	FileLockEntry *entry;
};

struct locks {
	struct seen **v;
	size_t n;
};

static bool is_same(const struct seen *a, const struct seen *b)
{
	return a->file_id == b->file_id && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       a->ino == b->ino && a->entry->flag == b->entry->flag && a->entry->start == b->entry->start &&
	       a->entry->len == b->entry->len && (a->file_id || a->entry->pid == b->entry->pid);
}

static void lock_add(struct dumping *d, struct locks *l, const struct seen *s)
{
	for (size_t i = 0; i < l->n; i++)
		if (is_same(l->v[i], s))
			return;
	arena_add(d->a, &l->v, &l->n, arena_memdup(d->a, s, sizeof(*s)));
	snap_add(d->snap, IMG_FILE_LOCKS, &s->entry->base);
}

static int lock_dump(struct dumping *d, struct locks *l, const struct dump_task *t, const FdinfoEntry *fd,
		     const struct file_lock *k)
{
	static const struct {
		const char *name;
		uint32_t flag;
	} kind[] = {
		[LOCK_KIND_POSIX] = { "a POSIX lock", LOCK_FLAG_POSIX },
		[LOCK_KIND_FLOCK] = { "a lock (flock)", LOCK_FLAG_FLOCK },
		[LOCK_KIND_OFD] = { "an open file description lock", LOCK_FLAG_OFD },
		[LOCK_KIND_LEASE] = { "a lease", 0 },
		[LOCK_KIND_DELEG] = { "a delegation", 0 },
	};
	struct seen s = { .dev_major = k->dev_major, .dev_minor = k->dev_minor, .ino = k->ino };

	if (!kind[k->kind].flag)
		return err_say(ENOTSUP, "it has %s, which is not supported yet", kind[k->kind].name);
	if (!d->opts->file_locks)
		return err_say(ENOTSUP, "it has %s: --file-locks carries it over (safe when no other process uses it)", kind[k->kind].name);
	s.file_id = k->kind == LOCK_KIND_POSIX ? 0 : fd->id;
	s.entry = arena_msg(d->a, file_lock_entry, FileLockEntry);
	s.entry->flag = kind[k->kind].flag;
	s.entry->type = k->access == LOCK_ACCESS_WRITE ? F_WRLCK : F_RDLCK;
	s.entry->pid = (int32_t)t->t->pst->pid;
	s.entry->fd = (int32_t)fd->fd;
	s.entry->start = (int64_t)k->start;
	s.entry->len = k->end == INT64_MAX ? 0 : (int64_t)(k->end - k->start + 1);
	lock_add(d, l, &s);
	return 0;
}

static int fd_dump(struct dumping *d, struct locks *l, const struct dump_task *t, const FdinfoEntry *fd)
{
	struct file_lock k;
	struct fdinfo info;
	const char *at;
	int r = fdinfo_read(t->proc_fd, (int)fd->fd, d->a, &info);

	if (r < 0)
		return r;
	at = info.rest;
	while ((r = locks_next(&at, &k)) > 0) {
		r = lock_dump(d, l, t, fd, &k);
		if (r < 0)
			break;
	}
	return r;
}

static int task_dump(struct dumping *d, struct locks *l, const struct dump_task *t)
{
	int err = 0;

	for (size_t i = 0; !err && i < t->t->nfds; i++)
		err = err_ctx(fd_dump(d, l, t, t->t->fds[i]), "fd %u", t->t->fds[i]->fd);
	return err_ctx(err, "task %d (%s)", t->pid, t->stat.comm);
}

int file_locks_dump(struct dumping *d)
{
	struct locks l = { 0 };
	int err = 0;

	for (size_t i = 0; d->locks_seen && !err && i < d->ntasks; i++)
		err = task_dump(d, &l, &d->tasks[i]);
	return err;
}

/* ---- restore --------------------------------------------------------------------------------- */

static const FdinfoEntry *fd_of(const struct snap_task *t, const FileLockEntry *e)
{
	for (size_t i = 0; i < t->nfds; i++)
		if (t->fds[i]->fd == (uint32_t)e->fd)
			return t->fds[i];
	return NULL;
}

static const FileLockEntry *lock_at(const struct restoring *r, size_t i)
{
	const struct img_msgs *v = &r->snap->list[IMG_FILE_LOCKS];

	return i < v->n ? (const FileLockEntry *)v->v[i].msg : NULL;
}

static int lock_check(struct restoring *r, const FileLockEntry *e)
{
	const struct snap_task *t = snap_task(r->snap, (uint32_t)e->pid);

	if (e->flag != LOCK_FLAG_POSIX && e->flag != LOCK_FLAG_FLOCK && e->flag != LOCK_FLAG_OFD)
		return err_say(ENOTSUP, "%s is not supported yet", e->flag == LOCK_FLAG_LEASE ? "a lease" : "a lock of unknown kind");
	if (e->type != F_RDLCK && e->type != F_WRLCK)
		return err_say(EINVAL, "a lock of unknown type %u", e->type);
	if (e->start < 0 || e->len < 0 || e->start > INT64_MAX - e->len)
		return err_say(EINVAL, "a lock from %" PRId64 " with %" PRId64 " bytes", e->start, e->len);
	if (!t || !fd_of(t, e))
		return err_say(EINVAL, "a lock on descriptor %d of task %d, which is not in the image", e->fd, e->pid);
	return 0;
}

static int locks_check(struct restoring *r, const struct snap_task *t)
{
	const FileLockEntry *e;
	int err = 0;

	for (size_t i = 0; !t->parent && !err && (e = lock_at(r, i)); i++)
		err = err_ctx(lock_check(r, e), "filelocks.img: entry %zu", i);
	return err;
}

static void lock_emit(const FileLockEntry *e, struct prog *p)
{
	const struct flock lock = {
		.l_type = (short)e->type, .l_whence = SEEK_SET, .l_start = e->start, .l_len = e->len,
	};
	uint64_t how = e->type == F_WRLCK ? LOCK_EX | LOCK_NB : LOCK_SH | LOCK_NB;

	prog_label(p, "take the %s lock on descriptor %d again (another process has it?)",
		   e->type == F_WRLCK ? "write" : "read", e->fd);
	if (e->flag == LOCK_FLAG_FLOCK)
		prog_sys(p, SYS_flock, (uint64_t)e->fd, how);
	else
		prog_sys(p, SYS_fcntl, (uint64_t)e->fd, e->flag == LOCK_FLAG_POSIX ? F_SETLK : F_OFD_SETLK,
			 prog_data(p->space, &lock, sizeof(lock)));
}

static int locks_emit(struct restoring *r, const struct snap_task *t, size_t k, struct prog *p)
{
	const FileLockEntry *e;

	for (size_t i = 0; !k && (e = lock_at(r, i)); i++)
		if ((uint32_t)e->pid == t->pst->pid)
			lock_emit(e, p);
	return 0;
}

const struct kind_task kind_task_file_locks = {
	.name = "file locks",
	.check = locks_check,
	.emit_thread = locks_emit,
};
