/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose monotonic clock is not the machine's, as after a restore on another machine: it goes on from where it
 * stood, also for one that waits for an absolute time.
 */
#include <linux/sched.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

#include "settled.h"

static const time_t AHEAD = 5000000;
static volatile pid_t waiter;

/* A program enters the namespace that it made for its children when it executes another. */
static void enter(char **argv)
{
	int fd;

	if (getenv("INSIDE"))
		return;
	if (syscall(SYS_unshare, CLONE_NEWTIME) < 0)
		subject_skip("this kernel has no time namespaces");
	fd = open("/proc/self/timens_offsets", O_WRONLY);
	CHECK(fd >= 0 && dprintf(fd, "monotonic %ld 500000000\nboottime -1 0\n", (long)AHEAD) > 0, "set the clocks");
	close(fd);
	setenv("INSIDE", "1", 1);
	execv(argv[0], argv);
	CHECK(0, "execv");
}

static time_t now(clockid_t clock)
{
	struct timespec t;

	CHECK(!clock_gettime(clock, &t), "clock_gettime");
	return t.tv_sec;
}

static void *wait_long(void *arg)
{
	struct timespec *until = arg;

	waiter = gettid();
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until, NULL) == EINTR)
		;
	return NULL;
}

int main(int argc, char **argv)
{
	struct timespec until;
	time_t mono, boot;
	pthread_t th;

	(void)argc;
	subject_file = argv[1];
	enter(argv);
	mono = now(CLOCK_MONOTONIC);
	boot = now(CLOCK_BOOTTIME);
	CHECK(mono >= AHEAD && mono - boot >= AHEAD, "the clocks");
	until = (struct timespec){ mono + 30000, 0 };
	CHECK(!pthread_create(&th, NULL, wait_long, &until), "start a thread");
	while (!waiter)
		usleep(1000);
	settled_in(waiter, SYS_clock_nanosleep);

	subject_ready();

	CHECK(now(CLOCK_MONOTONIC) >= mono && now(CLOCK_MONOTONIC) < mono + 1000, "the monotonic clock");
	CHECK(now(CLOCK_BOOTTIME) >= boot && now(CLOCK_BOOTTIME) < boot + 1000, "the boot clock");
	CHECK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &until) == 0 && until.tv_sec >= mono &&
		      until.tv_sec < mono + 1000,
	      "the same by a system call");
	CHECK(pthread_tryjoin_np(th, NULL) == EBUSY, "the wait is over");
	return 0;
}
