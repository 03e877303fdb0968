/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of /proc/PID (proc_file.h).
 *
 * The engine opens all files before any task exists, which these do not survive.
 * So it opens a stand-in, and the task that has the descriptor opens the file
 * itself, when all of its ancestors and children exist. Two tasks that share such
 * a description cannot be served that way and are refused by name.
 */
#include "kind/proc_file.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

/* The PID in "/proc/PID/...", 0 when it is no such name. */
static long pid_in(const char *name)
{
	if (strncmp(name, "/proc/", 6) || !isdigit((unsigned char)name[6]))
		return 0;
	return strtol(name + 6, NULL, 10);
}

bool proc_file_is(const RegFileEntry *m)
{
	return pid_in(m->name) > 0;
}

static bool in_tree(const struct dumping *d, long pid)
{
	for (size_t i = 0; i < d->ntasks; i++)
		for (size_t k = 0; k < d->tasks[i].nthreads; k++)
			if (d->tasks[i].threads[k].tid == pid)
				return true;
	return false;
}

int proc_file_dump(struct dumping *d, const struct fd_facts *f, const RegFileEntry *m)
{
	long pid = pid_in(m->name);

	if (f->fs_magic != PROC_SUPER_MAGIC)
		return 0;
	if (pid <= 0)
		return 0;
	if (!in_tree(d, pid))
		return err_say(ENOTSUP, "%s: process %ld is not in the tree that is dumped, which is not supported yet", m->name, pid);
	if (f->tfd < 0)
		return err_say(ENOTSUP, "%s, used as a directory or mapping, is not supported yet", m->name);
	return 0;
}

static const FdinfoEntry *holder_find(const struct snap *s, uint32_t id, size_t *ret_n)
{
	const FdinfoEntry *one = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < s->ntasks; i++) {
		const struct snap_task *t = s->tasks[i];

		for (size_t k = 0; k < t->nfds; k++) {
			if (t->fds[k]->id != id)
				continue;
			one = t->fds[k];
			++*ret_n;
		}
	}
	return one;
}

static int holders_check(const struct snap *s, const RegFileEntry *m)
{
	size_t n;

	holder_find(s, m->id, &n);
	if (n == 1)
		return 0;
	return err_say(ENOTSUP, "%s: a file in /proc/PID that %s is not supported yet", m->name,
		       n ? "several descriptors share" : "is in use without a descriptor");
}

int proc_file_finish(struct dumping *d)
{
	const struct img_msgs *files = &d->snap->list[IMG_FILES];
	int err = 0;

	for (size_t i = 0; !err && i < files->n; i++) {
		const FileEntry *e = (const FileEntry *)files->v[i].msg;

		if (e->type == FD_TYPES__REG && e->reg && proc_file_is(e->reg))
			err = holders_check(d->snap, e->reg);
	}
	return err;
}

/* ---- restore --------------------------------------------------------------------------------- */

int proc_file_check(struct restoring *r, const RegFileEntry *m)
{
	return holders_check(r->snap, m);
}

int proc_file_open(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	return fd < 0 ? err_set(errno, "open /dev/null") : fd;
}

int proc_file_emit(struct restoring *r, const RegFileEntry *m, int tfd, struct prog *p)
{
	uint32_t flags = m->flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC);
	uint64_t name_va = prog_data(p->space, m->name, strlen(m->name) + 1);
	const FdinfoEntry *holder;
	struct prog_rec *fd, *rec;
	size_t n;

	holder = holder_find(r->snap, m->id, &n);
	prog_label(p, "fd %d: open %s", tfd, m->name);
	fd = prog_sys(p, SYS_openat, (uint64_t)AT_FDCWD, name_va, flags | O_NOCTTY, 0);
	if (m->pos && !(flags & O_PATH))
		prog_ref(p, prog_sys(p, SYS_lseek, 0, m->pos, SEEK_SET), 0, fd);
	rec = prog_sys(p, SYS_dup3, 0, (uint64_t)tfd, holder && holder->flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	prog_ref(p, rec, 0, fd);
	rec = prog_sys(p, SYS_close, 0);
	prog_ref(p, rec, 0, fd);
	return 0;
}
