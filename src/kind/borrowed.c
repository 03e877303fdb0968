/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Borrowed names (borrowed.h). Runs in the engine, at restore.
 *
 * Nobody else's file is ever replaced: make() must fail where something exists.
 */
#include "kind/borrowed.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRIES = 1000 };

/* Makes the directory path[0..len) if it is missing. */
static int dir_make(struct borrowed *b, const char *path, size_t len)
{
	char *dir = arena_memdup(b->a, path, len + 1);

	dir[len] = 0;
	if (mkdir(dir, 0755) == 0)
		arena_add(b->a, &b->dirs, &b->ndirs, dir);
	else if (errno != EEXIST)
		return err_set(errno, "make directory %s for a deleted file", dir);
	return 0;
}

static int dirs_make(struct borrowed *b, const char *path)
{
	const char *last = strrchr(path, '/');
	struct stat st;
	int err = 0;

	if (last == path || stat(arena_printf(b->a, "%.*s", (int)(last - path), path), &st) == 0)
		return 0;
	for (const char *at = strchr(path + 1, '/'); at && !err; at = strchr(at + 1, '/'))
		err = dir_make(b, path, (size_t)(at - path));
	return err;
}

void borrowed_drop(struct borrowed *b)
{
	while (b->ndirs)
		rmdir(b->dirs[--b->ndirs]);
}

int borrowed_take(struct borrowed *b, struct arena *a, const char *want, int (*make)(const char *path, void *arg),
		  void *arg)
{
	int r;

	*b = (struct borrowed){ .a = a, .path = want };
	if (want[0] != '/')
		return err_say(EINVAL, "'%s' is not an absolute path", want);
	r = dirs_make(b, want);
	if (r >= 0) {
		r = make(want, arg);
		for (int i = 0; r == -EEXIST && i < TRIES; i++) {
			b->path = arena_printf(a, "%.*s/.thaw-%d-%d", (int)(strrchr(want, '/') - want), want, getpid(),
					       i);
			r = make(b->path, arg);
		}
		if (r < 0)
			r = err_set(-r, "make %s", b->path);
	}
	if (r < 0)
		borrowed_drop(b);
	return r;
}
