/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleted files at dump (ghost.h). Runs in the engine.
 *
 * Everything is read through a description of our own: the target's shares its
 * position with us, and SEEK_DATA moves it. Only the runs of data are stored, so
 * a sparse file stays sparse; the limit counts what is really allocated.
 */
#include "kind/ghost.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "img/imgdir.h"
#include "kind/description.h"
#include "kind/file_place.h"

enum { COPY_LEN = 256 * 1024 };

static Timeval *time_entry(struct dumping *d, const struct timespec *ts)
{
	Timeval *tv = arena_msg(d->a, timeval, Timeval);

	tv->tv_sec = (uint64_t)ts->tv_sec;
	tv->tv_usec = (uint64_t)ts->tv_nsec / 1000;
	return tv;
}

static int symlink_target(struct dumping *d, const struct fd_facts *f, GhostFileEntry *g)
{
	char target[4096];
	ssize_t len = readlinkat(f->fd, "", target, sizeof(target));

	if (len < 0 || (size_t)len == sizeof(target))
		return err_set(len < 0 ? errno : ENAMETOOLONG, "%s: read the symbolic link", f->link);
	g->symlnk_target = arena_printf(d->a, "%.*s", (int)len, target);
	return 0;
}

static int entry_fill(struct dumping *d, const struct fd_facts *f, GhostFileEntry *g)
{
	const struct stat *st = &f->st;

	g->uid = st->st_uid;
	g->gid = st->st_gid;
	g->mode = st->st_mode;
	g->has_dev = g->has_ino = true;
	g->dev = (uint32_t)(major(st->st_dev) << 20 | minor(st->st_dev)); /* the kernel's own way, unlike rdev */
	g->ino = st->st_ino;
	g->atim = time_entry(d, &st->st_atim);
	g->mtim = time_entry(d, &st->st_mtim);
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		g->has_chunks = g->chunks = g->has_size = true;
		g->size = (uint64_t)st->st_size;
		return 0;
	case S_IFCHR:
	case S_IFBLK:
		g->has_rdev = true;
		g->rdev = (uint32_t)st->st_rdev;
		return 0;
	case S_IFDIR:
	case S_IFIFO:
		return 0;
	case S_IFLNK:
		return symlink_target(d, f, g);
	default:
		return err_say(ENOTSUP, "%s: a deleted %s is not supported yet", f->link, file_place_type(st->st_mode));
	}
}

/* One run of data. buf is COPY_LEN long. */
static int run_write(int img_fd, uint32_t id, int fd, uint64_t off, uint64_t len, uint8_t *buf)
{
	GhostChunkEntry c = GHOST_CHUNK_ENTRY__INIT;
	int err;

	c.off = off;
	c.len = len;
	err = img_append(img_fd, IMG_GHOST_FILE, id, &c.base);
	while (!err && len) {
		ssize_t got = io_pread(fd, buf, len < COPY_LEN ? len : COPY_LEN, off);

		if (got <= 0)
			return err_set(got < 0 ? (int)-got : EIO, "read a deleted file at offset %" PRIu64, off);
		err = io_write(img_fd, buf, (size_t)got);
		if (err < 0)
			return err_set(-err, "write the image of a deleted file");
		off += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return err;
}

static int runs_write(int img_fd, uint32_t id, int fd, uint64_t size)
{
	auto_free uint8_t *buf = malloc(COPY_LEN);
	off_t at = 0, end;
	int err = 0;

	if (!buf)
		return err_set(ENOMEM, "buffer for a deleted file");
	while (!err) {
		at = lseek(fd, at, SEEK_DATA);
		if (at < 0 && errno == ENXIO)
			return 0;
		end = at < 0 ? -1 : lseek(fd, at, SEEK_HOLE);
		if (end < 0)
			return err_set(errno, "look for data in a deleted file");
		if ((uint64_t)at >= size)
			return 0;
		if ((uint64_t)end > size)
			end = (off_t)size;
		err = run_write(img_fd, id, fd, (uint64_t)at, (uint64_t)(end - at), buf);
		at = end;
	}
	return err;
}

static int contents_write(const struct fd_facts *f, int img_fd, uint32_t id)
{
	char self[64];
	auto_close int fd = -1;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	fd = open(self, O_RDONLY | O_CLOEXEC | O_NOATIME | O_NONBLOCK);
	if (fd < 0)
		return err_set(errno, "%s: open for reading", f->link);
	return err_ctx(runs_write(img_fd, id, fd, (uint64_t)f->st.st_size), "%s", f->link);
}

static int limit_check(struct dumping *d, const struct fd_facts *f)
{
	uint64_t have = (uint64_t)f->st.st_blocks * 512;

	if (!S_ISREG(f->st.st_mode))
		return 0;
	if (f->fs_magic == HUGETLBFS_MAGIC)
		return err_say(ENOTSUP, "%s: a deleted file on hugetlbfs is not supported yet", f->link);
	if (have > d->opts->ghost_limit)
		return err_say(EFBIG, "%s was deleted and holds %" PRIu64 " bytes, but --ghost-limit is %" PRIu64
			       " bytes: give a higher one to carry it in the images", f->link, have, d->opts->ghost_limit);
	return 0;
}

static int ghost_write(struct dumping *d, const struct fd_facts *f, uint32_t id)
{
	GhostFileEntry *g = arena_msg(d->a, ghost_file_entry, GhostFileEntry);
	auto_close int img_fd = -1;
	int err = entry_fill(d, f, g);

	if (err < 0)
		return err;
	img_fd = imgdir_create(d->dir, IMG_GHOST_FILE, id);
	if (img_fd < 0)
		return img_fd;
	err = img_append(img_fd, IMG_GHOST_FILE, id, &g->base);
	if (err >= 0 && S_ISREG(f->st.st_mode))
		err = contents_write(f, img_fd, id);
	return err < 0 ? err : img_finish(img_fd, IMG_GHOST_FILE, id);
}

int ghost_dump(struct dumping *d, const struct fd_facts *f, const RegFileEntry *m)
{
	const RemapFilePathEntry *known = remap_known(d, &f->st);
	uint32_t id = known ? known->remap_id : remap_next_ghost(d);
	int err = known ? 0 : limit_check(d, f);

	if (!err && !known)
		err = ghost_write(d, f, id);
	if (!err)
		remap_add(d, &f->st, m->id, REMAP_TYPE__GHOST, id);
	return err;
}
