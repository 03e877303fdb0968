/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told about I/O: F_SETOWN of a process, a group and a child, F_SETSIG, O_ASYNC. */
#include <sys/socket.h>
#include <sys/wait.h>

#include "subject.h"

static volatile sig_atomic_t told_by;

static void on_io(int sig, siginfo_t *si, void *ctx)
{
	(void)sig, (void)ctx;
	told_by = si->si_fd;
}

static void check_owner(int fd, int type, pid_t pid)
{
	struct f_owner_ex o = { 0 };

	CHECK(!fcntl(fd, F_GETOWN_EX, &o) && (int)(int)o.type == type && o.pid == pid, "fd %d: owner %d of type %d", fd,
	      o.pid, o.type);
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_io, .sa_flags = SA_SIGINFO };
	struct f_owner_ex group = { F_OWNER_PGRP, getpgrp() };
	int a[2], b[2], status;
	pid_t child;

	sigaction(SIGRTMIN, &sa, NULL);
	child = fork();
	if (!child) {
		pause();
		_exit(0);
	}
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, a) && !pipe(b), "make them");
	CHECK(!fcntl(a[0], F_SETOWN, getpid()) && !fcntl(a[0], F_SETSIG, SIGRTMIN) &&
		      !fcntl(a[0], F_SETFL, O_ASYNC | O_NONBLOCK),
	      "ask for signals");
	CHECK(!fcntl(a[1], F_SETOWN_EX, &group) && !fcntl(b[0], F_SETOWN, child), "set owners");

	subject_ready();

	check_owner(a[0], F_OWNER_PID, getpid());
	check_owner(a[1], F_OWNER_PGRP, getpgrp());
	check_owner(b[0], F_OWNER_PID, child);
	CHECK(fcntl(a[0], F_GETSIG) == SIGRTMIN && fcntl(a[0], F_GETFL) & O_ASYNC && !told_by, "a signal for nothing");
	CHECK(write(a[1], "x", 1) == 1 && told_by == a[0], "no signal for what came");
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return 0;
}
