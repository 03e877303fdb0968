/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reg_file_entry <-> an open file (reg_file.h). Runs in the engine.
 *
 * The contents stay where they are; the entry only says how to find and open the
 * file again, and enough to notice that it is another one by then.
 */
#include "kind/reg_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>

#include "base/cleanup.h"
#include "kind/build_id.h"
#include "kind/description.h"
#include "kind/file_place.h"
#include "kind/ghost.h"
#include "kind/link_remap.h"
#include "kind/proc_file.h"

/* What open() must not see: it would create, empty, or set a bit without its effect. */
static const uint32_t NEVER_OPENED_WITH = O_CREAT | O_EXCL | O_TRUNC | O_ASYNC;

static void build_id_note(struct dumping *d, const struct fd_facts *f, RegFileEntry *m)
{
	uint32_t words[BUILD_ID_WORDS];

	if (!S_ISREG(f->st.st_mode) || (f->flags & O_PATH) || (f->flags & O_ACCMODE) == O_WRONLY)
		return;
	if (f->fs_magic == PROC_SUPER_MAGIC || f->fs_magic == SYSFS_MAGIC)
		return; /* their reads have effects */
	m->n_build_id = build_id_read(f->fd, words);
	m->build_id = arena_memdup(d->a, words, m->n_build_id * sizeof(*words));
}

static FownEntry *owner_of(struct dumping *d, const struct fd_facts *f)
{
	if (f->tfd >= 0 && !(f->flags & O_PATH))
		return dumping_fown(d, f->fd);
	return arena_msg(d->a, fown_entry, FownEntry);
}

static int state_dump(struct dumping *d, const struct fd_facts *f, const struct file_place *at, RegFileEntry *m)
{
	switch (at->state) {
	case FILE_GONE:
		return ghost_dump(d, f, m);
	case FILE_RENAMED:
		return link_remap_dump(d, f, m);
	case FILE_HERE:
		build_id_note(d, f, m);
	}
	return proc_file_dump(d, f, m);
}

int reg_file_dump(struct dumping *d, const struct fd_facts *f, uint32_t id, RegFileEntry **ret)
{
	RegFileEntry *m = arena_msg(d->a, reg_file_entry, RegFileEntry);
	struct file_place at;
	int err = file_place_find(d, f, &at);

	if (err < 0)
		return err;
	m->id = id;
	/* What comes from no table (the executable, the cwd) was opened by thaw: only the access counts. */
	m->flags = f->tfd >= 0 ? f->flags : f->flags & O_ACCMODE;
	m->pos = f->tfd >= 0 ? f->pos : 0;
	m->fown = owner_of(d, f);
	m->name = (char *)at.name;
	m->has_mode = true;
	m->mode = f->st.st_mode;
	/* the size is for a restore to compare: a log may have grown */
	m->has_size = S_ISREG(f->st.st_mode) && !(m->flags & O_APPEND);
	m->size = m->has_size ? (uint64_t)f->st.st_size : 0;
	err = state_dump(d, f, &at, m);
	if (!err)
		*ret = m;
	return err;
}

/* ---- restore --------------------------------------------------------------------------------- */

static int build_id_check(const char *path, const RegFileEntry *m)
{
	uint32_t words[BUILD_ID_WORDS];
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t n;

	if (fd < 0)
		return err_set(errno, "open %s", path);
	n = build_id_read(fd, words);
	if (n != m->n_build_id)
		return err_say(EINVAL, "%s has changed since the dump: its build ID is %s", path, n ? "of another length" : "gone");
	for (size_t i = 0; i < n; i++)
		if (words[i] != m->build_id[i])
			return err_say(EINVAL, "%s has changed since the dump: it has another build ID", path);
	return 0;
}

int reg_file_check(const char *path, const RegFileEntry *m)
{
	mode_t type = reg_file_type(m);
	struct stat st;

	if (path[0] != '/')
		return err_say(EINVAL, "'%s' is not an absolute path", path);
	if (fstatat(AT_FDCWD, path, &st, m->flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0) < 0)
		return err_set(errno, "%s", path);
	if (type && type != (st.st_mode & S_IFMT))
		return err_say(EINVAL, "%s is a %s now, it was a %s", path, file_place_type(st.st_mode),
			       file_place_type(type));
	if (m->has_size && S_ISREG(st.st_mode) && (uint64_t)st.st_size != m->size)
		return err_say(EINVAL, "%s has changed since the dump: it has %" PRIu64 " bytes now, it had %" PRIu64, path,
			       (uint64_t)st.st_size, m->size);
	return m->n_build_id && S_ISREG(st.st_mode) ? build_id_check(path, m) : 0;
}

int reg_file_open(const char *path, const RegFileEntry *m)
{
	uint32_t flags = m->flags & ~NEVER_OPENED_WITH;
	auto_close int fd = -1;
	int err;

	/* That bit means "make one without a name"; such a file has been made by now. */
	if ((flags & O_TMPFILE) == O_TMPFILE)
		flags &= ~(uint32_t)O_TMPFILE;
	if (reg_file_type(m) == S_IFIFO)
		flags |= O_PATH;
	fd = open(path, (int)flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return err_set(errno, "open %s", path);
	if (flags & O_PATH)
		return take_fd(&fd);
	if (m->pos && lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		return err_set(errno, "%s: go to position %" PRIu64, path, m->pos);
	err = m->flags & O_ASYNC ? description_flags(fd, m->flags) : 0;
	return err < 0 ? err : take_fd(&fd);
}
