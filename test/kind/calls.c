/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that wait in system calls: none may see that anything has happened. */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "subject.h"

static int pipe_a[2], pipe_b[2], pair[2], timed[2];
static sem_t sem;
static uint32_t word;
static volatile int stop;

static void reads(void)
{
	char c = 0;

	CHECK(read(pipe_a[0], &c, 1) == 1 && c == 'a', "read");
}

static void receives(void)
{
	char c = 0;

	CHECK(recv(pair[0], &c, 1, 0) == 1 && c == 'r', "recv");
}

static void polls(void)
{
	struct pollfd p = { .fd = pipe_b[0], .events = POLLIN };

	CHECK(poll(&p, 1, -1) == 1, "poll without a time limit");
}

static void polls_for_long(void)
{
	struct pollfd p = { .fd = pipe_b[0], .events = POLLIN };

	CHECK(poll(&p, 1, 10000000) == 1, "poll with a time limit");
}

static void selects(void)
{
	struct timeval t = { 100000, 0 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pipe_b[0], &set);
	CHECK(select(pipe_b[0] + 1, &set, NULL, NULL, &t) == 1, "select");
}

static void waits_sem(void)
{
	CHECK(!sem_wait(&sem), "sem_wait");
}

static void waits_sem_for_long(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 100000;
	CHECK(!sem_timedwait(&sem, &t), "sem_timedwait");
}

static void waits_futex(void)
{
	struct timespec t = { 100000, 0 };

	while (!__atomic_load_n(&word, __ATOMIC_ACQUIRE))
		CHECK(!syscall(SYS_futex, &word, FUTEX_WAIT, 0, &t, NULL, 0) || errno == EAGAIN, "futex");
}

/* usleep() and sleep(): no EINTR without a handler, and not shorter than asked for. */
static void sleeps(void)
{
	struct timespec from, to;

	while (!stop) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		CHECK(!usleep(300000), "usleep");
		clock_gettime(CLOCK_MONOTONIC, &to);
		CHECK((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >= 299, "a short sleep");
	}
}

static void sleeps_on(void)
{
	while (!stop)
		CHECK(!sleep(1), "sleep");
}

static void sleeps_until(void)
{
	struct timespec t;

	while (!stop) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec++;
		CHECK(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL), "clock_nanosleep");
	}
}

/* Asks for what is left, and so is told. */
static void sleeps_in_pieces(void)
{
	while (!stop) {
		struct timespec t = { 0, 400000000 }, left;

		while (nanosleep(&t, &left)) {
			CHECK(errno == EINTR && left.tv_sec == 0 && left.tv_nsec <= 400000000, "nanosleep: %ld",
			      left.tv_nsec);
			t = left;
		}
	}
}

/* Calls that the kernel ends with EINTR whatever interrupts them. */
static void epolls(int limit_ms)
{
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(0);

	CHECK(ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, pipe_b[0], &e), "make an epoll");
	CHECK(epoll_wait(ep, &e, 1, limit_ms) == 1, "epoll_wait");
	close(ep);
}

static void epolls_for_ever(void)
{
	epolls(-1);
}

static void epolls_for_long(void)
{
	epolls(100000000);
}

static void receives_for_long(void)
{
	struct timeval t = { 100000, 0 };
	char c = 0;

	CHECK(!setsockopt(timed[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), "SO_RCVTIMEO");
	CHECK(recv(timed[0], &c, 1, 0) == 1 && c == 't', "recv with a time limit");
}

static void reads_for_long(void)
{
	struct timeval t = { 100000, 0 };
	char c = 0;

	CHECK(!setsockopt(timed[1], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), "SO_RCVTIMEO");
	CHECK(read(timed[1], &c, 1) == 1 && c == 'u', "read with a time limit");
}

static void takes_signals(void)
{
	struct timespec t = { 100000, 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(sigtimedwait(&set, NULL, &t) == SIGUSR1, "sigtimedwait");
}

static void (*const calls[])(void) = {
	epolls_for_ever, epolls_for_long, receives_for_long, reads_for_long, takes_signals,    reads,
	receives,        polls,           polls_for_long,    selects,        waits_sem,        waits_sem_for_long,
	waits_futex,     sleeps,          sleeps_on,         sleeps_until,   sleeps_in_pieces,
};
enum { CALLS = sizeof(calls) / sizeof(*calls) };

static void *thread(void *arg)
{
	calls[(size_t)arg]();
	return NULL;
}

int main(void)
{
	pthread_t th[CALLS];
	sigset_t usr1;

	CHECK(!pipe(pipe_a) && !pipe(pipe_b) && !socketpair(AF_UNIX, SOCK_STREAM, 0, pair) &&
		      !socketpair(AF_UNIX, SOCK_STREAM, 0, timed), "make pipes");
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	sem_init(&sem, 0, 0);
	for (size_t i = 0; i < CALLS; i++)
		CHECK(!pthread_create(&th[i], NULL, thread, (void *)i), "create a thread");
	usleep(50000); /* most of them wait by then; it does not matter if one does not */

	subject_ready();

	stop = 1;
	CHECK(write(pipe_a[1], "a", 1) == 1 && write(pipe_b[1], "b", 1) == 1 && send(pair[1], "r", 1, 0) == 1, "write");
	CHECK(write(timed[1], "t", 1) == 1 && write(timed[0], "u", 1) == 1, "write to the timed pair");
	CHECK(!kill(getpid(), SIGUSR1), "kill");
	sem_post(&sem);
	sem_post(&sem);
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &word, FUTEX_WAKE, 100, NULL, NULL, 0);
	for (size_t i = 0; i < CALLS; i++)
		CHECK(!pthread_join(th[i], NULL), "join");
	return 0;
}
