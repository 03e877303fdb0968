/* SPDX-License-Identifier: Apache-2.0 */
/* Interval timers and POSIX timers with their IDs, clocks and ways to notify; one wakes a thread of its own. */
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "subject.h"

enum { FAR = 100000, RT = 37, TIMERS = 8 };

static int id[TIMERS];
static volatile int tid, fired, stop;
static pthread_barrier_t up;

/* libc hides the IDs of some timers. */
static int create(int clock, int notify, int sig, int to, int value)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = value };
	int n = -1;

	ev._sigev_un._tid = to;
	CHECK(!syscall(SYS_timer_create, clock, &ev, &n), "create a timer of clock %d", clock);
	return n;
}

static void start(int n, long sec, long nsec, long interval_sec, long interval_nsec)
{
	struct itimerspec its = { { interval_sec, interval_nsec }, { sec, nsec } };

	CHECK(!syscall(SYS_timer_settime, n, 0, &its, NULL), "start timer %d", n);
}

static void check_left(int n, long sec, long interval)
{
	struct itimerspec its;

	CHECK(!syscall(SYS_timer_gettime, n, &its), "timer %d is gone", n);
	CHECK(its.it_interval.tv_sec == interval, "interval of timer %d: %ld", n, (long)its.it_interval.tv_sec);
	if (sec)
		CHECK(its.it_value.tv_sec <= sec && its.it_value.tv_sec > sec - 60, "timer %d: %ld s", n,
		      (long)its.it_value.tv_sec);
	else
		CHECK(!its.it_value.tv_sec && !its.it_value.tv_nsec, "timer %d runs", n);
}

static void check_itimer(int which, long sec, long interval)
{
	struct itimerval v;

	CHECK(!getitimer(which, &v), "getitimer");
	CHECK(v.it_value.tv_sec <= sec && v.it_value.tv_sec > sec - 60 && v.it_interval.tv_sec == interval,
	      "interval timer %d: %ld s, %ld s", which, (long)v.it_value.tv_sec, (long)v.it_interval.tv_sec);
}

/* One timer signals this very thread. */
static void *woken(void *arg)
{
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, RT);
	tid = gettid();
	pthread_barrier_wait(&up);
	while (!stop || !fired) {
		siginfo_t info;

		if (sigwaitinfo(&set, &info) != RT)
			continue;
		CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == 4711, "what the timer says");
		fired++;
	}
	CHECK(fired == 1, "it has fired %d times", fired);
	return NULL;
}

int main(void)
{
	struct itimerval real = { { 7, 0 }, { FAR, 5 } };
	struct itimerval virt = { { 0, 0 }, { FAR, 0 } }, prof = { { 9, 0 }, { FAR, 0 } };
	pthread_t th;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, RT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_barrier_init(&up, NULL, 2);
	CHECK(!pthread_create(&th, NULL, woken, NULL), "create a thread");
	pthread_barrier_wait(&up);
	setitimer(ITIMER_REAL, &real, NULL);
	setitimer(ITIMER_VIRTUAL, &virt, NULL);
	setitimer(ITIMER_PROF, &prof, NULL);

	id[0] = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 0, 1);
	id[1] = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
	id[2] = create(CLOCK_REALTIME, SIGEV_SIGNAL, 40, 0, 2);
	id[3] = create(CLOCK_BOOTTIME, SIGEV_NONE, 0, 0, 0);
	id[4] = create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, RT, tid, 4711);
	id[5] = create(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR2, 0, 5);
	for (int i = 0; i < 20; i++)
		CHECK(!syscall(SYS_timer_delete, create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0)), "delete a timer");
	id[6] = create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0);
	CHECK(!syscall(SYS_timer_delete, id[1]), "delete timer %d", id[1]);
	start(id[0], FAR, 0, 11, 0);
	start(id[2], FAR, 0, 0, 0);
	start(id[4], FAR, 0, 17, 0);
	start(id[5], FAR, 0, 0, 0);
	start(id[6], FAR, 0, 13, 0);

	subject_ready();

	check_itimer(ITIMER_REAL, FAR, 7);
	check_itimer(ITIMER_VIRTUAL, FAR, 0);
	check_itimer(ITIMER_PROF, FAR, 9);
	check_left(id[0], FAR, 11);
	check_left(id[2], FAR, 0);
	check_left(id[3], 0, 0);
	check_left(id[4], FAR, 17);
	check_left(id[5], FAR, 0);
	check_left(id[6], FAR, 13);
	CHECK(syscall(SYS_timer_gettime, id[1], &(struct itimerspec){ 0 }) < 0, "the deleted timer is there");
	CHECK(create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0, 0) > id[6], "a new timer has an old ID");
	stop = 1;
	start(id[4], 0, 1, 0, 0);
	CHECK(!pthread_join(th, NULL), "join");
	return 0;
}
