/* SPDX-License-Identifier: Apache-2.0 */
/* Files -> messages (img.h). */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "img/img_parse.h"

/* More than any real image of messages; a sparse file of terabytes must not become an allocation. */
#define IMG_LEN_MAX (1ULL << 31)

/* O_NONBLOCK: a fifo in place of an image must not hang us. It means nothing to regular files. */
static int file_open(int dirfd, const char *name, uint64_t *ret_len)
{
	auto_close int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return err_set(errno, "%s: open", name);
	if (fstat(fd, &st) < 0)
		return err_set(errno, "%s: stat", name);
	if (!S_ISREG(st.st_mode))
		return err_say(EINVAL, "%s: is not a regular file", name);
	*ret_len = (uint64_t)st.st_size;
	return take_fd(&fd);
}

int img_open(int dirfd, enum img_id id, uint64_t num)
{
	char name[IMG_NAME_LEN];
	uint64_t len;

	return file_open(dirfd, img_name(name, id, num), &len);
}

static int file_load(const struct img_src *src, struct arena *a, const uint8_t **ret_buf)
{
	uint8_t *buf;
	ssize_t r;

	if (src->len > IMG_LEN_MAX)
		return err_say(EFBIG, "%s: has %lu bytes, an image of this type has at most %llu", src->name, src->len,
			       IMG_LEN_MAX);
	buf = arena_alloc(a, src->len + 1);
	r = io_pread(src->fd, buf, src->len, 0);
	if (r < 0)
		return err_set((int)-r, "%s: read", src->name);
	if ((uint64_t)r < src->len)
		return err_say(EIO, "%s: shrank while it was read (%zd of %lu bytes)", src->name, r, src->len);
	*ret_buf = buf;
	return 0;
}

int img_read_all(int dirfd, enum img_id id, uint64_t num, struct arena *a, struct img_msgs *ret)
{
	const struct img_type *t = img_type(id);
	char name[IMG_NAME_LEN];
	struct img_src src = { .name = img_name(name, id, num) };
	auto_close int fd = file_open(dirfd, name, &src.len);
	int r = 0;

	if (fd < 0)
		return fd;
	src.fd = fd;
	if (t->kind != IMG_KIND_GHOST)
		r = file_load(&src, a, &src.buf);
	return r < 0 ? r : img_src_parse(t, &src, a, ret);
}

int img_read_one(int dirfd, enum img_id id, uint64_t num, struct arena *a, void *ret_msg)
{
	struct img_msgs all;
	int r = img_read_all(dirfd, id, num, a, &all);

	if (r < 0)
		return r;
	if (all.n != 1) {
		char name[IMG_NAME_LEN];

		return err_say(EINVAL, "%s: has %zu entries, expected one", img_name(name, id, num), all.n);
	}
	memcpy(ret_msg, &all.v[0].msg, sizeof(all.v[0].msg));
	return 0;
}
