/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a task stands in the file system: working directory, root, umask.
 *
 * Runs in the engine; emitted by the leader before its threads exist, which share
 * all three with it. Order in the table: after whatever opens a path in the task
 * (identity), and before credentials: chroot takes CAP_SYS_CHROOT.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "kind/kind.h"

static int fs_dump(struct dumping *d, struct dump_task *t, const void *asked)
{
	FsEntry *e = arena_msg(d->a, fs_entry, FsEntry);
	int r = dumping_link(d, t->pid, "cwd", &e->cwd_id);

	(void)asked;
	if (r < 0)
		return err_ctx(r, "its working directory");
	r = dumping_link(d, t->pid, "root", &e->root_id);
	if (r < 0)
		return err_ctx(r, "its root directory");
	e->has_umask = t->status.has_umask;
	e->umask = t->status.umask;
	t->t->fs = e;
	return 0;
}

/* Tasks start with the engine's root; 1 if fd is another one. */
static int is_another_root(const struct own *own, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(errno, "stat the root directory");
	return own->root_dev != st.st_dev || own->root_ino != st.st_ino;
}

static int emit_root(struct restoring *r, uint32_t id, struct prog *p)
{
	int fd = restoring_fd(r, id), another;

	if (fd < 0)
		return err_ctx(fd, "its root directory");
	/* a plan opens nothing: its descriptors are stand-ins */
	another = r->opts->cmd == CMD_PLAN ? 0 : is_another_root(&r->own, fd);
	if (another <= 0)
		return another;
	prog_label(p, "change the root directory");
	prog_sys(p, SYS_fchdir, (uint64_t)fd);
	prog_sys(p, SYS_chroot, prog_data(p->space, ".", 2));
	return 0;
}

static int fs_emit(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	const FsEntry *e = t->fs;
	int cwd, root;

	if (!e)
		return 0;
	root = emit_root(r, e->root_id, p);
	if (root < 0)
		return root;
	cwd = restoring_fd(r, e->cwd_id);
	if (cwd < 0)
		return err_ctx(cwd, "its working directory");
	prog_label(p, "change the working directory");
	prog_sys(p, SYS_fchdir, (uint64_t)cwd);
	if (e->has_umask) {
		prog_label(p, "set the umask");
		prog_sys(p, SYS_umask, e->umask);
	}
	return 0;
}

const struct kind_task kind_task_fs = {
	.name = "file system",
	.dump = fs_dump,
	.emit = fs_emit,
};
