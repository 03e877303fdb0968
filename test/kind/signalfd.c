/* SPDX-License-Identifier: Apache-2.0 */
/* Signals told by descriptors: pending over the dump, arriving after it, and waking an epoll set. */
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "subject.h"

static int taken(int fd)
{
	struct signalfd_siginfo si;

	return read(fd, &si, sizeof(si)) == sizeof(si) ? (int)si.ssi_signo : -errno;
}

int main(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 42 }, got;
	sigset_t two, rt;
	int a, b, ep = epoll_create1(0);

	sigemptyset(&two);
	sigaddset(&two, SIGUSR1);
	sigaddset(&two, SIGUSR2);
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMAX);
	sigprocmask(SIG_BLOCK, &two, NULL);
	sigprocmask(SIG_BLOCK, &rt, NULL);
	a = signalfd(-1, &two, SFD_NONBLOCK | SFD_CLOEXEC);
	b = signalfd(-1, &rt, SFD_NONBLOCK);
	CHECK(a >= 0 && b >= 0 && ep >= 0, "create");
	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, b, &ev), "watch");
	raise(SIGUSR2);

	subject_ready();

	CHECK(taken(a) == SIGUSR2 && taken(a) == -EAGAIN, "the pending signal");
	CHECK(taken(b) == -EAGAIN && epoll_wait(ep, &got, 1, 0) == 0, "a signal that nobody sent");
	if (!fork()) {
		/* asleep in epoll_wait() before the signal comes: only a wake-up ends it */
		sigset_t mask;

		sigprocmask(SIG_SETMASK, NULL, &mask);
		usleep(50000);
		kill(getppid(), SIGRTMAX);
		_exit(0);
	}
	CHECK(epoll_wait(ep, &got, 1, 10000) == 1 && got.data.u64 == 42, "the signal woke nobody");
	CHECK(taken(b) == SIGRTMAX, "the real-time signal");
	return 0;
}
