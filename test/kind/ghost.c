/* SPDX-License-Identifier: Apache-2.0 */
/* Deleted files that are still open: contents, holes, attributes, shared by descriptions, tasks and mappings. */
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "settled.h"

enum { BIG = 300000, FAR = 40 << 20 };

static unsigned char at(int i)
{
	return (unsigned char)(i * 7 + i / 256);
}

static int made(const char *name, int flags)
{
	int fd = open(name, flags | O_CREAT | O_EXCL, 0640);

	CHECK(fd >= 0, "create %s", name);
	return fd;
}

static void same(int a, int b, const char *what)
{
	struct stat x, y;

	CHECK(fstat(a, &x) == 0 && fstat(b, &y) == 0, "stat");
	CHECK(x.st_dev == y.st_dev && x.st_ino == y.st_ino, "%s: two files", what);
}

static void gone(int fd, const char *want)
{
	char self[64], text[4096];
	ssize_t len, want_len = (ssize_t)strlen(want);
	struct stat st;

	CHECK(fstat(fd, &st) == 0 && (S_ISDIR(st.st_mode) || st.st_nlink == 0), "%s: %lu links", want,
	      (unsigned long)st.st_nlink);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	len = readlink(self, text, sizeof(text) - 1);
	text[len < 0 ? 0 : len] = 0;
	CHECK(len >= want_len && !strcmp(text + len - want_len, want), "%s is not called %s", text, want);
}

int main(void)
{
	unsigned char *buf = malloc(BIG), *map;
	struct timespec times[2] = { { 1000000000, 0 }, { 1100000000, 5000 } };
	int rw = made("file", O_RDWR), ro = open("file", O_RDONLY), append = open("file", O_WRONLY | O_APPEND);
	int empty = made("empty", O_RDWR), first = made("first", O_RDWR), second;
	int dir, inside, below, fifo, link, status, to_child[2];
	struct stat st;
	pid_t child;

	for (int i = 0; i < BIG; i++)
		buf[i] = at(i);
	CHECK(write(rw, buf, BIG) == BIG && pwrite(rw, "end", 3, FAR) == 3, "write");
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, rw, 0);
	CHECK(map != MAP_FAILED, "map");
	CHECK(fchown(rw, 1234, 5678) == 0 && fchmod(rw, 04611) == 0, "attributes");
	unlink("file");
	unlink("empty");
	lseek(ro, 10, SEEK_SET);
	CHECK(write(first, "one", 3) == 3 && linkat(AT_FDCWD, "first", AT_FDCWD, "second", 0) == 0, "link");
	second = open("second", O_RDWR);
	unlink("first");
	unlink("second");
	CHECK(mkdir("dir", 0711) == 0 && mkdir("dir/deep", 0700) == 0, "mkdir");
	dir = open("dir", O_RDONLY | O_DIRECTORY);
	inside = made("dir/inside", O_RDWR);
	below = made("dir/deep/below", O_RDWR);
	CHECK(write(inside, "in", 2) == 2 && write(below, "be", 2) == 2, "write");
	CHECK(!unlink("dir/inside") && !unlink("dir/deep/below") && !rmdir("dir/deep") && !rmdir("dir"), "remove");
	CHECK(mkfifo("fifo", 0600) == 0, "mkfifo");
	fifo = open("fifo", O_RDWR);
	CHECK(write(fifo, "queued", 6) == 6, "write");
	unlink("fifo");
	CHECK(symlink("to/somewhere", "link") == 0, "symlink");
	link = open("link", O_PATH | O_NOFOLLOW);
	unlink("link");
	CHECK(mkdir("home", 0700) == 0 && chdir("home") == 0 && rmdir("../home") == 0, "a deleted working directory");
	CHECK(pipe(to_child) == 0, "pipe");
	futimens(rw, times);
	child = fork();
	if (!child) {
		char c;

		close(to_child[1]);
		CHECK(read(to_child[0], &c, 1) == 0, "the child's pipe");
		CHECK(map[5] == 0x99 && pread(ro, &c, 1, 5) == 1 && (unsigned char)c == 0x99,
		      "the child has another file");
		_exit(0);
	}
	close(to_child[0]);

	settled_in_read(child);
	subject_ready();

	CHECK(fstat(rw, &st) == 0 && st.st_size == FAR + 3, "size %ld", (long)st.st_size);
	CHECK(st.st_blocks * 512 < 1 << 20, "the holes are filled: %ld blocks", (long)st.st_blocks);
	CHECK(st.st_uid == 1234 && st.st_gid == 5678 && (st.st_mode & 07777) == 04611, "owner or mode");
	CHECK(st.st_mtim.tv_sec == 1100000000, "time %ld", (long)st.st_mtim.tv_sec);
	CHECK(lseek(rw, 0, SEEK_CUR) == BIG && lseek(ro, 0, SEEK_CUR) == 10, "positions");
	for (int i = 10; i < BIG; i += 1000) {
		unsigned char c;

		CHECK(pread(ro, &c, 1, i) == 1 && c == at(i), "contents at %d", i);
	}
	same(rw, ro, "read and write");
	same(rw, append, "append");
	gone(rw, "/file (deleted)");
	gone(ro, "/file (deleted)");
	CHECK(write(append, "more", 4) == 4 && lseek(append, 0, SEEK_CUR) == FAR + 7, "append");
	CHECK(access("../file", F_OK) < 0, "its name is left");
	CHECK(fstat(empty, &st) == 0 && st.st_size == 0, "the empty file");
	same(first, second, "two names");
	gone(first, "/first (deleted)");
	gone(second, "/second (deleted)");
	CHECK(pread(second, buf, 10, 0) == 3 && !memcmp(buf, "one", 3), "two names");
	gone(dir, "/dir (deleted)");
	CHECK(fstat(dir, &st) == 0 && (st.st_mode & 07777) == 0711, "the mode of a deleted directory");
	gone(inside, "/dir/inside (deleted)");
	gone(below, "/dir/deep/below (deleted)");
	CHECK(pread(below, buf, 10, 0) == 2 && !memcmp(buf, "be", 2), "in a deleted directory");
	gone(fifo, "/fifo (deleted)");
	CHECK(read(fifo, buf, 10) == 6 && !memcmp(buf, "queued", 6), "a deleted fifo");
	CHECK(readlinkat(link, "", (char *)buf, 100) == 12 && !memcmp(buf, "to/somewhere", 12),
	      "a deleted symbolic link");
	CHECK(!getcwd((char *)buf, 4096) && errno == ENOENT, "a deleted working directory");
	map[5] = 0x99;
	close(to_child[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child failed");
	return 0;
}
