/* SPDX-License-Identifier: Apache-2.0 */
/* A dump and a restore without processes: enough of both for the kinds of files, in a directory of their own. */
#ifndef TEST_FILES_FIXTURE_H
#define TEST_FILES_FIXTURE_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "img/imgdir.h"
#include "kind/reg_file.h"

struct files_fixture {
	char path[64];
	struct opts opts;
	struct dumping d;
	struct restoring r;
	char links[8][4200];
	size_t nlinks;
};

static int files_setup(void **state)
{
	struct files_fixture *x = calloc(1, sizeof(*x));
	struct snap *s = snap_new();
	char img[80];

	strcpy(x->path, "/tmp/thaw-files-XXXXXX");
	if (!mkdtemp(x->path))
		return -1;
	snprintf(img, sizeof(img), "%s/img", x->path);
	x->opts = opts_default();
	x->d = (struct dumping){ .opts = &x->opts, .snap = s, .a = s->a, .next_id = 100 };
	if (mkdir(img, 0700) < 0 || imgdir_open(AT_FDCWD, img, s->a, &x->d.dir) < 0 || imgdir_begin(x->d.dir) < 0)
		return -1;
	x->r = (struct restoring){ .opts = &x->opts, .snap = s, .a = s->a, .dirfd = x->d.dir->dirfd };
	*state = x;
	return chdir(x->path);
}

static int files_teardown(void **state)
{
	struct files_fixture *x = *state;
	char cmd[128];
	int r;

	imgdir_close(x->d.dir);
	snap_free(x->d.snap);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", x->path);
	r = system(cmd);
	free(x);
	return r;
}

/* What the engine would tell about our own descriptor. */
static struct fd_facts files_facts(struct files_fixture *x, int fd)
{
	struct fd_facts f = { .pid = getpid(), .tfd = fd, .fd = fd, .fdinfo = "", .mnt_id = -1 };
	char *link = x->links[x->nlinks++ % 8], self[64];
	struct statfs fs;
	ssize_t len;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	len = readlink(self, link, sizeof(x->links[0]) - 1);
	assert_true(len > 0);
	link[len] = 0;
	f.link = link;
	assert_int_equal(fstat(fd, &f.st), 0);
	assert_int_equal(fstatfs(fd, &fs), 0);
	f.fs_magic = fs.f_type;
	f.flags = (uint32_t)fcntl(fd, F_GETFL);
	f.pos = f.flags & O_PATH ? 0 : (uint64_t)lseek(fd, 0, SEEK_CUR);
	return f;
}

/* Dumps fd as file id. Returns reg_file_dump()'s result. */
__attribute__((unused)) static int files_dump_fd(struct files_fixture *x, int fd, uint32_t id)
{
	FileEntry *e = arena_msg(x->d.a, file_entry, FileEntry);
	struct fd_facts f = files_facts(x, fd);
	int r;

	e->type = FD_TYPES__REG;
	e->id = id;
	r = reg_file_dump(&x->d, &f, id, &e->reg);
	if (r >= 0)
		snap_add(x->d.snap, IMG_FILES, &e->base);
	return r;
}

#endif
