/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One ghost-file image at restore (ghost_image.h). Runs in the engine.
 *
 * The contents are either all that follows the entry, or runs of data with their
 * offsets, which leave the holes of a sparse file open.
 */
#include "kind/ghost_image.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kind/file_place.h"

enum { COPY_LEN = 256 * 1024 };

int ghost_image_load(struct restoring *r, uint32_t id, struct ghost_image *ret)
{
	*ret = (struct ghost_image){ .r = r, .id = id };
	if (img_read_all(r->dirfd, IMG_GHOST_FILE, id, r->a, &ret->msgs) < 0)
		return err_ctx(-EINVAL, "deleted file");
	ret->entry = (const GhostFileEntry *)ret->msgs.v[0].msg;
	return 0;
}

static int chunks_check(const struct ghost_image *g)
{
	uint64_t size = g->entry->has_size ? g->entry->size : INT64_MAX;

	for (size_t i = 1; i < g->msgs.n; i++) {
		const GhostChunkEntry *c = (const GhostChunkEntry *)g->msgs.v[i].msg;

		if (size > INT64_MAX || c->off > size || c->len > size - c->off)
			return err_say(EINVAL, "ghost-file-%x.img: entry %zu: data at %" PRIu64 " lies outside of the file's %" PRIu64 " bytes",
				       g->id, i, c->off, size);
	}
	return 0;
}

int ghost_image_check(const struct ghost_image *g)
{
	switch (g->entry->mode & S_IFMT) {
	case S_IFREG:
		return chunks_check(g);
	case S_IFLNK:
		return g->entry->symlnk_target ? 0 : err_say(EINVAL, "ghost-file-%x.img: a symbolic link without target", g->id);
	case S_IFDIR:
	case S_IFIFO:
	case S_IFCHR:
	case S_IFBLK:
		return 0;
	default:
		return err_say(ENOTSUP, "ghost-file-%x.img: a deleted %s is not supported yet", g->id,
			       file_place_type(g->entry->mode));
	}
}

static int run_copy(int img_fd, uint64_t from, uint64_t len, int fd, uint64_t to, uint8_t *buf)
{
	while (len) {
		ssize_t got = io_pread(img_fd, buf, len < COPY_LEN ? len : COPY_LEN, from);
		int err;

		if (got <= 0)
			return err_set(got < 0 ? (int)-got : EIO, "read at offset %" PRIu64, from);
		err = io_pwrite(fd, buf, (size_t)got, to);
		if (err < 0)
			return err_set(-err, "write its contents");
		from += (uint64_t)got;
		to += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

static int contents_copy(const struct ghost_image *g, int fd)
{
	auto_close int img_fd = img_open(g->r->dirfd, IMG_GHOST_FILE, g->id);
	auto_free uint8_t *buf = malloc(COPY_LEN);
	const struct img_msg *v = g->msgs.v;
	int err = img_fd;

	if (err >= 0 && !buf)
		err = err_set(ENOMEM, "buffer for a deleted file");
	if (err >= 0)
		err = run_copy(img_fd, v[0].payload_off, v[0].payload_len, fd, 0, buf);
	for (size_t i = 1; err >= 0 && i < g->msgs.n; i++)
		err = run_copy(img_fd, v[i].payload_off, v[i].payload_len, fd, ((const GhostChunkEntry *)v[i].msg)->off,
			       buf);
	if (err >= 0 && g->entry->has_size && ftruncate(fd, (off_t)g->entry->size) < 0)
		err = err_set(errno, "set its size to %" PRIu64, g->entry->size);
	return err_ctx(err < 0 ? err : 0, "ghost-file-%x.img", g->id);
}

/* fd may be O_PATH. Times come last: everything else changes them. */
static int attributes_set(const GhostFileEntry *g, int fd)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	char self[64];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (fchownat(fd, "", g->uid, g->gid, AT_EMPTY_PATH) < 0)
		return err_set(errno, "give a deleted file back to user %u", g->uid);
	if (S_ISLNK(g->mode))
		return 0;
	if (chmod(self, g->mode & 07777) < 0)
		return err_set(errno, "set the mode of a deleted file");
	if (g->atim && g->mtim) {
		times[0] = (struct timespec){ (time_t)g->atim->tv_sec, (long)g->atim->tv_usec * 1000 };
		times[1] = (struct timespec){ (time_t)g->mtim->tv_sec, (long)g->mtim->tv_usec * 1000 };
	}
	if (utimensat(AT_FDCWD, self, times, 0) < 0)
		return err_set(errno, "set the times of a deleted file");
	return 0;
}

int ghost_image_fill(const struct ghost_image *g, int fd)
{
	int err = S_ISREG(g->entry->mode) ? contents_copy(g, fd) : 0;

	return err < 0 ? err : attributes_set(g->entry, fd);
}
