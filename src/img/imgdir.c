/* SPDX-License-Identifier: Apache-2.0 */
/* Image directories (imgdir.h): opening the chain of parents, listing. */
#include "img/imgdir.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/* Longer chains are a mistake: each step costs a lookup for every page that is not changed. */
enum { CHAIN_MAX = 128 };

static int dir_open(int atfd, const char *path, struct arena *a, struct imgdir **ret)
{
	auto_close int fd = openat(atfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct imgdir *d;

	if (fd < 0 && errno == ENOENT)
		return err_say(ENOENT, "%s: no such image directory", path);
	if (fd < 0 && errno == ENOTDIR)
		return err_say(ENOTDIR, "%s: is not a directory", path);
	if (fd < 0)
		return err_set(errno, "%s: open", path);
	d = arena_alloc(a, sizeof(*d));
	*d = (struct imgdir){ .dirfd = take_fd(&fd), .path = arena_strdup(a, path), .a = a };
	*ret = d;
	return 0;
}

/* Whether a directory of the chain from `from` up to `last` is the same one as last. */
static int chain_loops(const struct imgdir *from, const struct imgdir *last)
{
	struct stat a, b;

	if (fstat(last->dirfd, &a) < 0)
		return 0;
	for (; from != last; from = from->parent)
		if (fstat(from->dirfd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return 1;
	return 0;
}

/* Opens d's parent if there is one. Returns 1, 0 for none. */
static int parent_open(struct imgdir *d)
{
	struct stat st;
	int r;

	if (fstatat(d->dirfd, "parent", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_set(errno, "%s/parent: stat", d->path);
	r = dir_open(d->dirfd, "parent", d->a, &d->parent);
	if (r < 0)
		return err_ctx(r, "%s", d->path);
	d->parent->path = arena_printf(d->a, "%s/parent", d->path);
	return 1;
}

static int chain_open(struct imgdir *d)
{
	struct imgdir *last = d;

	for (int depth = 0; depth < CHAIN_MAX; depth++) {
		int r = parent_open(last);

		if (r <= 0)
			return r;
		last = last->parent;
		if (chain_loops(d, last))
			return err_say(ELOOP, "%s: the chain of parent directories leads back to itself", last->path);
	}
	return err_say(ELOOP, "%s: more than %d parent directories", d->path, CHAIN_MAX);
}

int imgdir_open(int atfd, const char *path, struct arena *a, struct imgdir **ret)
{
	struct imgdir *d;
	int r = dir_open(atfd, path, a, &d);

	if (r < 0)
		return r;
	r = chain_open(d);
	if (r < 0)
		imgdir_close(d);
	else
		*ret = d;
	return r;
}

void imgdir_close(struct imgdir *d)
{
	for (; d; d = d->parent) {
		if (d->dirfd >= 0)
			close(d->dirfd);
		d->dirfd = -1;
	}
}

size_t imgdir_depth(const struct imgdir *d)
{
	size_t n = 0;

	for (; d; d = d->parent)
		n++;
	return n;
}

const struct imgdir *imgdir_at(const struct imgdir *d, size_t depth)
{
	while (depth--)
		d = d->parent;
	return d;
}

static int file_order(const void *pa, const void *pb)
{
	const struct imgdir_file *a = pa, *b = pb;

	if (a->type != b->type)
		return a->type < b->type ? -1 : 1;
	return (a->num > b->num) - (a->num < b->num);
}

static void file_add(struct arena *a, struct imgdir_file **v, size_t *n, const struct imgdir_file *f)
{
	struct imgdir_file *more;

	/* full exactly when n is 0 or a power of two */
	if (!(*n & (*n - 1))) {
		more = arena_alloc(a, (*n ? 2 * *n : 1) * sizeof(*more));
		if (*n)
			memcpy(more, *v, *n * sizeof(*more));
		*v = more;
	}
	(*v)[(*n)++] = *f;
}

int imgdir_list(const struct imgdir *d, struct arena *a, struct imgdir_file **ret, size_t *ret_n)
{
	int fd = openat(d->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_dir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct imgdir_file f, *v = NULL;
	const struct dirent *de;
	struct stat st;
	size_t n = 0;

	if (!dir)
		return err_set(errno, "%s: open", d->path);
	while ((errno = 0, de = readdir(dir))) {
		f.type = img_type_by_file(de->d_name, &f.num);
		if (!f.type || fstatat(d->dirfd, de->d_name, &st, 0) < 0)
			continue;
		f.len = (uint64_t)st.st_size;
		file_add(a, &v, &n, &f);
	}
	if (errno)
		return err_set(errno, "%s: readdir", d->path);
	if (n)
		qsort(v, n, sizeof(*v), file_order);
	*ret = v;
	*ret_n = n;
	return 0;
}
