/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small tree that has a bit of everything, so that its images are of every type thaw writes: what the tests of
 * damaged images restore. Its files are relative to the working directory, the runner's own.
 */
#include "../kind/subject.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static void *waiter(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *map(size_t len, int flags, int fd)
{
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, fd, 0);

	CHECK(p != MAP_FAILED, "mmap");
	memset(p, 'm', len);
	return p;
}

static void memory(void)
{
	int fd = memfd_create("rich", 0);

	CHECK(fd >= 0 && !ftruncate(fd, 65536), "memfd");
	map(65536, MAP_SHARED, fd);
	map(65536, MAP_SHARED | MAP_ANONYMOUS, -1);
	map(65536, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void files(void)
{
	int fd = open("data", O_RDWR | O_CREAT, 0644), gone = open("gone", O_RDWR | O_CREAT, 0600);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1, .l_len = 5 };

	CHECK(fd >= 0 && gone >= 0 && write(fd, "some data", 9) == 9 && write(gone, "deleted", 7) == 7, "files");
	CHECK(!unlink("gone") && !fcntl(fd, F_SETLK, &lock) && !flock(fd, LOCK_EX), "locks");
	CHECK(open(".", O_RDONLY | O_DIRECTORY) >= 0, "directory");
	CHECK(!mkfifo("fifo", 0600), "fifo");
	fd = open("fifo", O_RDWR);
	CHECK(fd >= 0 && write(fd, "in the fifo", 11) == 11, "fifo");
}

static void sockets(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(7777),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int p[2], s = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_INET, SOCK_DGRAM, 0),
		  l = socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(!pipe(p) && write(p[1], "in the pipe", 11) == 11, "pipe");
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, p) && write(p[0], "queued", 6) == 6, "socket pair");
	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, p) && write(p[0], "packet", 6) == 6, "datagram pair");
	CHECK(!bind(s, (struct sockaddr *)&in, sizeof(in)) && !listen(s, 5), "TCP");
	CHECK(!bind(u, (struct sockaddr *)&in, sizeof(in)), "UDP");
	CHECK(!bind(l, (struct sockaddr *)&un, sizeof(un)) && !listen(l, 5), "unix");
}

static void events(void)
{
	struct itimerspec its = { { 1000, 0 }, { 2000, 0 } };
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 1 };
	int ep = epoll_create1(0), ev = eventfd(3, 0), tf = timerfd_create(CLOCK_MONOTONIC, 0);
	struct sigevent sev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	sigset_t set;
	timer_t t;

	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) && !timerfd_settime(tf, 0, &its, NULL), "epoll, timerfd");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	CHECK(signalfd(-1, &set, 0) >= 0 && !kill(getpid(), SIGUSR2), "signalfd");
	CHECK(!timer_create(CLOCK_MONOTONIC, &sev, &t) && !timer_settime(t, 0, &its, NULL), "timer");
}

int main(void)
{
	pthread_t t;
	pid_t zombie, child;
	int st;

	zombie = fork();
	if (!zombie)
		_exit(5);
	memory();
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setpgid(0, 0);
		for (;;)
			pause();
	}
	files();
	sockets();
	events();
	CHECK(!pthread_create(&t, NULL, waiter, NULL), "thread");
	subject_ready();
	CHECK(waitpid(zombie, &st, 0) == zombie && WEXITSTATUS(st) == 5, "zombie");
	CHECK(!kill(child, SIGKILL) && waitpid(child, &st, 0) == child, "child");
	return 0;
}
