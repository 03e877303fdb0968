/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor tables. Every descriptor is copied out of its task with
 * pidfd_getfd; kcmp tells which of them are one open file description, so each
 * description is handed to exactly one kind, once.
 *
 * Our copies stay open until the end of the dump: kinds look at each other's files in finish().
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "dump/dt.h"
#include "kern/fdinfo.h"
#include "kern/kcmp.h"
#include "kern/pidfd.h"

struct known {
	uint32_t id;
	FdTypes type;
};

struct files {
	struct kcmp_set *set;
	struct known *known; /* by description number of the set, from 1 */
	size_t cap;
	int *fds;            /* ours, to be closed */
	size_t nfds, fds_cap;
};

uint32_t dumping_next_id(struct dumping *d)
{
	return ++d->next_id;
}

void dumping_undo(struct dumping *d, void (*fn)(void *arg), void *arg)
{
	undo_push(d->undo, fn, arg);
}

FownEntry *dumping_fown(struct dumping *d, int fd)
{
	FownEntry *e = arena_msg(d->a, fown_entry, FownEntry);
	struct f_owner_ex owner = { 0 };
	int sig = fcntl(fd, F_GETSIG);

	/* O_PATH descriptors have no owner: everything stays 0 */
	if (fcntl(fd, F_GETOWN_EX, &owner) == 0 && owner.pid) {
		uint32_t uids[2] = { 0 };

		e->pid = (uint32_t)owner.pid;
		e->pid_type = (uint32_t)(owner.type == F_OWNER_TID ? 0 : owner.type == F_OWNER_PID ? 1 : 2);
		if (fcntl(fd, 17 /* F_GETOWNER_UIDS */, uids) == 0) {
			e->uid = uids[0];
			e->euid = uids[1];
		}
	}
	e->signum = sig > 0 ? (uint32_t)sig : 0;
	return e;
}

static const struct kind_fd *claim(const struct fd_facts *f)
{
	for (size_t i = 0; kind_fds[i]; i++)
		if (kind_fds[i]->match && kind_fds[i]->match(f))
			return kind_fds[i];
	return NULL;
}

/* "anon_inode:inotify" -> "inotify", "socket:[123]" -> "such a socket", else the link itself. */
static const char *noun_of(struct dumping *d, const char *link)
{
	size_t len;
	char *noun;

	if (!strncmp(link, "socket:", 7))
		return "a socket of this family";
	if (strncmp(link, "anon_inode:", 11))
		return link;
	noun = arena_strdup(d->a, link + 11);
	len = strlen(noun);
	if (noun[0] == '[' && len > 2) {
		noun[len - 1] = 0;
		noun++;
	}
	return noun;
}

static int dump_description(struct dumping *d, const struct fd_facts *f, FileEntry **ret)
{
	const struct kind_fd *k = claim(f);
	FileEntry *e;
	int err;

	if (!k || !k->dump)
		return err_say(ENOTSUP, "%s is not supported yet", noun_of(d, f->link));
	e = arena_msg(d->a, file_entry, FileEntry);
	e->type = k->type;
	e->id = dumping_next_id(d);
	err = k->dump(d, f, e);
	if (err < 0)
		return err_ctx(err, "%s", k->name);
	snap_add(d->snap, IMG_FILES, &e->base);
	log_debug("file %u: %s %s", e->id, k->name, f->link);
	*ret = e;
	return 0;
}

int files_look(struct fd_facts *f)
{
	struct statfs fs;

	if (fstat(f->fd, &f->st) < 0)
		return err_set(errno, "fstat");
	if (!fstatfs(f->fd, &fs))
		f->fs_magic = (long)fs.f_type;
	return 0;
}

static int know(struct files *files, uint32_t number, struct known k)
{
	if (number >= files->cap) {
		size_t cap = files->cap ? 2 * files->cap : 256;
		struct known *more = realloc(files->known, cap * sizeof(*more));

		if (!more)
			return err_set(ENOMEM, "list files");
		files->known = more;
		files->cap = cap;
	}
	files->known[number] = k;
	return 0;
}

int dumping_file(struct dumping *d, const struct fd_facts *f, uint32_t *ret_id)
{
	struct files *files = d->files;
	FileEntry *e = NULL;
	uint32_t number = 0;
	bool fresh = true;
	int err = 0;

	/* in a table (ours, when it was in flight): it may be one that is known */
	if (f->tfd >= 0)
		err = kcmp_set_add(files->set,
				   &(struct kcmp_file){ f->pid, f->tfd, f->st.st_dev, f->st.st_ino,
							(uint32_t)f->mnt_id },
				   &number, &fresh);
	if (err >= 0 && !fresh) {
		*ret_id = files->known[number].id;
		return 0;
	}
	if (err >= 0)
		err = dump_description(d, f, &e);
	if (err >= 0 && f->tfd >= 0)
		err = know(files, number, (struct known){ e->id, e->type });
	if (err >= 0)
		*ret_id = e->id;
	return err;
}

/* --- tables ------------------------------------------------------------------------------------- */

static int keep_fd(struct files *files, int fd)
{
	if (files->nfds == files->fds_cap) {
		size_t cap = files->fds_cap ? 2 * files->fds_cap : 256;
		int *more = realloc(files->fds, cap * sizeof(*more));

		if (!more)
			return err_set(ENOMEM, "list descriptors");
		files->fds = more;
		files->fds_cap = cap;
	}
	files->fds[files->nfds++] = fd;
	return 0;
}

static int dump_fd(struct dumping *d, struct dump_task *t, int tfd)
{
	struct files *files = d->files;
	struct fd_facts f = { .pid = t->pid, .tfd = tfd, .gpu_heir = t->gpu_heir };
	FdinfoEntry *fi = arena_msg(d->a, fdinfo_entry, FdinfoEntry);
	struct fdinfo info;
	auto_close int fd = -1;
	FileEntry *e = NULL;
	uint32_t number;
	bool fresh;
	char *link;
	int err;

	err = fdinfo_read(t->proc_fd, tfd, d->a, &info);
	if (err >= 0)
		err = fdinfo_link(t->proc_fd, tfd, d->a, &link);
	if (err < 0)
		return err;
	fd = pidfd_fetch(t->pidfd, tfd);
	if (fd < 0)
		return fd;
	f.fd = fd;
	f.link = link;
	f.fdinfo = info.rest;
	d->locks_seen |= strstr(info.rest, "lock:") != NULL;
	f.flags = info.flags;
	f.pos = info.pos;
	f.mnt_id = (int32_t)info.mnt_id;
	err = files_look(&f);
	if (err >= 0)
		err = kcmp_set_add(files->set,
				   &(struct kcmp_file){ t->pid, tfd, f.st.st_dev, f.st.st_ino, info.mnt_id }, &number,
				   &fresh);
	if (err < 0)
		return err;
	if (fresh) {
		err = dump_description(d, &f, &e);
		if (err >= 0)
			err = know(files, number, (struct known){ e->id, e->type });
		if (err >= 0)
			err = keep_fd(files, take_fd(&fd));
		if (err < 0)
			return err;
	}
	fi->id = files->known[number].id;
	fi->type = files->known[number].type;
	fi->flags = info.cloexec ? 1 : 0;
	fi->fd = (uint32_t)tfd;
	arena_add(d->a, &t->t->fds, &t->t->nfds, fi);
	return 0;
}

static int dump_table(struct dumping *d, struct dump_task *t)
{
	int *tfds, err;
	size_t n;

	err = fdinfo_list(t->proc_fd, d->a, &tfds, &n);
	for (size_t i = 0; err >= 0 && i < n; i++)
		err = err_ctx(dump_fd(d, t, tfds[i]), "fd %d", tfds[i]);
	return err_ctx(err, "task %d (%s)", t->pid, t->stat.comm);
}

int files_dump(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = dump_table(&d->kinds, &d->kinds.tasks[i]);
	for (size_t i = 0; err >= 0 && kind_fds[i]; i++)
		if (kind_fds[i]->finish)
			err = kind_fds[i]->finish(&d->kinds);
	return err;
}

int files_init(struct dump *d)
{
	d->kinds.files = arena_alloc(d->kinds.a, sizeof(*d->kinds.files));
	d->kinds.files->set = kcmp_set_new(d->kinds.a);
	return 0;
}

void files_done(struct dump *d)
{
	struct files *f = d->kinds.files;

	if (!f)
		return;
	while (f->nfds)
		close(f->fds[--f->nfds]);
	free(f->fds);
	free(f->known);
	kcmp_set_free(f->set);
	*f = (struct files){ 0 };
}
