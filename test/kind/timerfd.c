/* SPDX-License-Identifier: Apache-2.0 */
/* Timers: running, disarmed, expired once, expired and periodic, absolute, cancelled by clock changes. */
#include <poll.h>
#include <stdint.h>
#include <sys/timerfd.h>

#include "subject.h"

enum { FAR = 100000 };

static int timer(int clock, int flags, time_t sec, long nsec, time_t interval)
{
	struct itimerspec its = { .it_value = { sec, nsec }, .it_interval = { interval, 0 } };
	int fd = timerfd_create(clock, TFD_NONBLOCK);

	CHECK(fd >= 0 && !timerfd_settime(fd, flags, &its, NULL), "set timer of clock %d", clock);
	return fd;
}

static void wait_expired(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	CHECK(poll(&p, 1, 10000) == 1, "a timer of 1 ns has not expired");
}

static int64_t left(int fd)
{
	struct itimerspec its;

	CHECK(!timerfd_gettime(fd, &its), "timerfd_gettime");
	return its.it_value.tv_sec;
}

static int64_t ticks(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? (int64_t)v : -errno;
}

int main(void)
{
	int running, periodic, off, once, again, absolute, cancel;
	struct timespec now;

	running = timer(CLOCK_MONOTONIC, 0, FAR, 5, 0);
	periodic = timer(CLOCK_BOOTTIME, 0, FAR, 0, 3);
	off = timer(CLOCK_REALTIME, 0, 0, 0, 0);
	once = timer(CLOCK_MONOTONIC, 0, 0, 1, 0);
	again = timer(CLOCK_MONOTONIC, 0, 0, 1, FAR);
	wait_expired(once);
	wait_expired(again);
	clock_gettime(CLOCK_REALTIME, &now);
	absolute = timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME, now.tv_sec + FAR, 0, 0);
	cancel = timer(CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, INT64_MAX, 0, 0);

	subject_ready();

	CHECK(left(running) > FAR - 60 && left(running) <= FAR && ticks(running) == -EAGAIN, "running: %ld s",
	      (long)left(running));
	CHECK(left(periodic) > FAR - 60 && left(periodic) <= FAR, "periodic: %ld s", (long)left(periodic));
	CHECK(left(off) == 0 && ticks(off) == -EAGAIN, "disarmed");
	CHECK(left(once) == 0 && ticks(once) == 1 && ticks(once) == -EAGAIN, "expired once");
	CHECK(left(again) > FAR - 60 && left(again) <= FAR, "expired and periodic: %ld s", (long)left(again));
	CHECK(ticks(again) == 1 && ticks(again) == -EAGAIN, "ticks of the periodic one");
	CHECK(left(absolute) > FAR - 60 && left(absolute) <= FAR, "absolute: %ld s", (long)left(absolute));
	CHECK(left(cancel) > FAR && ticks(cancel) == -EAGAIN, "never, but for a change of the clock");
	return 0;
}
