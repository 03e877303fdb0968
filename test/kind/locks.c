/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-options: --file-locks */
/* File locks of all three kinds, shared with a child or not. */
#include <sys/file.h>
#include <sys/wait.h>

#include "settled.h"

static struct flock range(short type, off_t start, off_t len)
{
	return (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
}

/* Who keeps a write lock from being had there: 0 nobody, a PID, -1 a description. */
static pid_t holder(int fd, int cmd, off_t start, off_t len)
{
	struct flock l = range(F_WRLCK, start, len);

	CHECK(fcntl(fd, cmd, &l) == 0, "F_GETLK");
	return l.l_type == F_UNLCK ? 0 : l.l_pid;
}

static int in_child(void (*fn)(int fd, pid_t parent), int fd)
{
	pid_t parent = getpid(), child = fork();
	int status;

	if (!child) {
		fn(fd, parent);
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && status == 0;
}

static void posix_probe(int fd, pid_t parent)
{
	struct flock l = range(F_RDLCK, 0, 10);

	CHECK(holder(fd, F_GETLK, 0, 10) == parent, "the write lock is gone");
	CHECK(fcntl(fd, F_SETLK, &l) < 0 && (errno == EAGAIN || errno == EACCES), "the write lock is a read lock");
	CHECK(holder(fd, F_GETLK, 10, 10) == 0, "it is longer than it was");
	CHECK(holder(fd, F_GETLK, 1000, 1) == parent, "the lock to the end of the file is gone");
	l = range(F_RDLCK, 2000, 1);
	CHECK(fcntl(fd, F_SETLK, &l) == 0, "the read lock is a write lock");
}

int main(void)
{
	int posix = open("posix", O_RDWR | O_CREAT, 0600), flock_fd = open("flock", O_RDONLY | O_CREAT, 0600), other,
	    pipe_fd[2];
	int ofd = open("ofd", O_RDWR | O_CREAT, 0600), again = open("posix", O_RDONLY),
	    shared = open("shared", O_RDWR | O_CREAT, 0600);
	struct flock l = range(F_WRLCK, 0, 10);
	pid_t child;
	int status;

	CHECK(fcntl(posix, F_SETLK, &l) == 0, "lock");
	l = range(F_RDLCK, 1000, 0);
	CHECK(fcntl(again, F_SETLK, &l) == 0, "lock");
	CHECK(flock(flock_fd, LOCK_EX) == 0 && flock(shared, LOCK_SH) == 0, "flock");
	l = range(F_WRLCK, 5, 5);
	CHECK(fcntl(ofd, F_OFD_SETLK, &l) == 0, "F_OFD_SETLK");
	CHECK(pipe(pipe_fd) == 0, "pipe");
	child = fork();
	if (!child) {
		char c;

		/* its own lock, on a description that it shares with its parent */
		l = range(F_WRLCK, 100, 10);
		CHECK(fcntl(posix, F_SETLK, &l) == 0, "the child's lock");
		close(pipe_fd[1]);
		CHECK(read(pipe_fd[0], &c, 1) == 0, "the child's pipe");
		_exit(0);
	}
	close(pipe_fd[0]);
	while (holder(posix, F_GETLK, 100, 10) != child)
		usleep(1000);

	settled_in_read(child);
	subject_ready();

	CHECK(in_child(posix_probe, posix), "POSIX locks");
	CHECK(holder(posix, F_GETLK, 100, 10) == child, "the child's lock is gone");
	other = open("flock", O_RDONLY);
	CHECK(flock(other, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK, "the flock is gone");
	other = open("shared", O_RDONLY);
	CHECK(flock(other, LOCK_EX | LOCK_NB) < 0 && flock(other, LOCK_SH | LOCK_NB) == 0, "the shared flock");
	other = open("ofd", O_RDWR);
	CHECK(holder(other, F_OFD_GETLK, 5, 5) == -1 && holder(other, F_OFD_GETLK, 0, 5) == 0, "the OFD lock");
	CHECK(holder(ofd, F_OFD_GETLK, 5, 5) == 0, "the OFD lock belongs to another description");
	close(pipe_fd[1]);
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child failed");
	CHECK(holder(posix, F_GETLK, 100, 10) == 0, "the child's lock outlives it");
	return 0;
}
