/* SPDX-License-Identifier: Apache-2.0 */
/* Files with a name: positions, flags, shared descriptions, directories, devices, names only (O_PATH), /proc. */
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "settled.h"

enum { TEXT_LEN = 100 };

static int made(const char *name, int flags, size_t len)
{
	int fd = open(name, flags | O_CREAT, 0644);

	CHECK(fd >= 0, "create %s", name);
	for (size_t i = 0; i < len; i++)
		CHECK(pwrite(fd, &(char){ (char)('a' + i % 26) }, 1, (off_t)i) == 1, "write %s", name);
	return fd;
}

static void same_file(int fd, const char *name)
{
	struct stat a, b;

	CHECK(fstat(fd, &a) == 0 && stat(name, &b) == 0, "stat %s", name);
	CHECK(a.st_dev == b.st_dev && a.st_ino == b.st_ino, "%s is another file", name);
}

int main(void)
{
	int rw = made("rw", O_RDWR, TEXT_LEN), twin = dup(rw), other, log, sparse, name, dir, link, odd, shut,
	    child_end[2];
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY | O_CLOEXEC),
	    rnd = open("/dev/urandom", O_RDONLY);
	int self, shared, tty_name;
	struct dirent *d;
	struct stat st;
	char c, text[4096];
	DIR *list;
	pid_t child;
	int status, seen = 0;

	lseek(rw, 42, SEEK_SET);
	other = open("rw", O_RDONLY | O_NOATIME | O_CLOEXEC);
	lseek(other, 3, SEEK_SET);
	log = made("log", O_WRONLY | O_APPEND | O_SYNC, 0);
	sparse = made("sparse", O_RDWR, 0);
	CHECK(ftruncate(sparse, 1LL << 40) == 0, "truncate");
	lseek(sparse, (1LL << 40) - 1, SEEK_SET);
	name = open("rw", O_PATH);
	CHECK(mkdir("dir", 0700) == 0 && symlink("nowhere", "link") == 0, "prepare names");
	close(made("dir/x", O_RDWR, 0));
	dir = open("dir", O_RDONLY | O_DIRECTORY);
	link = open("link", O_PATH | O_NOFOLLOW);
	odd = made("odd (deleted)", O_RDWR, 7);
	shut = made("shut", O_WRONLY, 0);
	fchmod(shut, 0);
	tty_name = open("/dev/tty", O_PATH);
	shared = made("shared", O_RDWR, TEXT_LEN);
	lseek(shared, 0, SEEK_SET);
	CHECK(other >= 0 && name >= 0 && dir >= 0 && link >= 0 && rnd >= 0 && tty_name >= 0, "open");
	CHECK(pipe(child_end) == 0, "pipe");
	child = fork();
	if (!child) {
		close(child_end[1]);
		CHECK(read(child_end[0], &c, 1) == 0, "the child's pipe");
		CHECK(lseek(shared, 0, SEEK_CUR) == 5, "the shared position is not shared");
		lseek(shared, 9, SEEK_SET);
		_exit(0);
	}
	close(child_end[0]);
	self = open("/proc/self/comm", O_RDWR);
	CHECK(lseek(self, 2, SEEK_SET) == 2, "open /proc/self/comm");

	settled_in_read(child);
	subject_ready();

	CHECK(lseek(rw, 0, SEEK_CUR) == 42, "position %ld", (long)lseek(rw, 0, SEEK_CUR));
	CHECK(read(rw, &c, 1) == 1 && c == 'a' + 42 % 26, "contents at the position");
	CHECK(lseek(twin, 0, SEEK_CUR) == 43, "a duplicate has its own position");
	CHECK(lseek(other, 0, SEEK_CUR) == 3, "another description's position");
	CHECK(fcntl(other, F_GETFD) == FD_CLOEXEC && fcntl(zero, F_GETFD) == FD_CLOEXEC && !fcntl(rw, F_GETFD),
	      "FD_CLOEXEC");
	CHECK(fcntl(other, F_GETFL) & O_NOATIME, "O_NOATIME");
	CHECK((fcntl(log, F_GETFL) & (O_APPEND | O_SYNC | O_ACCMODE)) == (O_APPEND | O_SYNC | O_WRONLY),
	      "flags of the log");
	CHECK(write(log, "x", 1) == 1, "append");
	CHECK(lseek(sparse, 0, SEEK_CUR) == (1LL << 40) - 1, "position in a sparse file");
	same_file(name, "rw");
	CHECK(read(name, &c, 1) < 0 && errno == EBADF, "O_PATH has become readable");
	same_file(dir, "dir");
	CHECK(openat(dir, "x", O_RDONLY) >= 0, "open below a directory");
	list = fdopendir(dir);
	while (list && (d = readdir(list)))
		seen += !strcmp(d->d_name, "x");
	CHECK(seen == 1, "read a directory");
	CHECK(fstat(link, &st) == 0 && S_ISLNK(st.st_mode), "a symbolic link's name");
	same_file(odd, "odd (deleted)");
	CHECK(write(shut, "y", 1) == 1, "write to a file that nobody may open");
	CHECK(fstat(tty_name, &st) == 0 && S_ISCHR(st.st_mode), "the name of a terminal");
	CHECK(write(null, "z", 1) == 1 && read(null, &c, 1) == 0, "/dev/null");
	CHECK(read(zero, &c, 1) == 1 && !c && read(rnd, &c, 1) == 1, "/dev/zero, /dev/urandom");
	CHECK(lseek(self, 0, SEEK_CUR) == 2, "position in /proc/self/comm");
	CHECK(pread(self, text, sizeof(text), 0) == 6 && !memcmp(text, "files\n", 6), "/proc/self/comm");
	lseek(shared, 5, SEEK_SET);
	close(child_end[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child failed");
	CHECK(lseek(shared, 0, SEEK_CUR) == 9, "the child's position is not ours");
	return 0;
}
