/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thousand threads, each with a name, a signal mask, thread-local data and floating-point state of its own. Every
 * tenth works all the time, the others wait on one futex. Each must go on as the one it was.
 */
#include "subject.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { N = 1000 };

static atomic_int go, started;
static __thread uint64_t own;
static struct worker {
	pthread_t thread;
	pid_t tid;
	_Atomic uint64_t rounds;
	const char *wrong;
} workers[N];

static void work(struct worker *w)
{
	double sum = 0;

	/* the sum of 1..1000 in steps that a lost register would spoil */
	while (!atomic_load(&go)) {
		sum = 0;
		for (int i = 1; i <= 1000; i++)
			sum += i;
		if (sum != 500500) {
			w->wrong = "arithmetic";
			return;
		}
		atomic_fetch_add(&w->rounds, 1);
		usleep(5000);
	}
}

static void *thread_main(void *arg)
{
	struct worker *w = arg;
	long id = w - workers;
	char name[16], now[16] = "";
	sigset_t mask, after;

	w->tid = (pid_t)syscall(SYS_gettid);
	own = (uint64_t)id * 77777;
	snprintf(name, sizeof(name), "crowd-%d", (int)(id % N));
	prctl(PR_SET_NAME, name);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGRTMIN + (int)id % 20);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	atomic_fetch_add(&started, 1);
	if (id % 10 == 0)
		work(w);
	while (!atomic_load(&go))
		syscall(SYS_futex, &go, FUTEX_WAIT, 0, NULL, NULL, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	prctl(PR_GET_NAME, now);
	if (w->tid != syscall(SYS_gettid))
		w->wrong = "thread ID";
	else if (own != (uint64_t)id * 77777)
		w->wrong = "thread-local data";
	else if (strcmp(name, now))
		w->wrong = "name";
	else if (!sigismember(&after, SIGRTMIN + (int)id % 20) || sigismember(&after, SIGUSR1))
		w->wrong = "signal mask";
	return NULL;
}

int main(void)
{
	pthread_attr_t attr;
	uint64_t rounds;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	for (int i = 0; i < N; i++)
		CHECK(!pthread_create(&workers[i].thread, &attr, thread_main, &workers[i]), "thread %d", i);
	while (atomic_load(&started) < N)
		usleep(1000);
	subject_ready();
	rounds = atomic_load(&workers[0].rounds);
	for (int i = 0; i < 1000 && atomic_load(&workers[0].rounds) == rounds; i++)
		usleep(5000);
	CHECK(atomic_load(&workers[0].rounds) > rounds, "the working threads stand still");
	atomic_store(&go, 1);
	syscall(SYS_futex, &go, FUTEX_WAKE, N, NULL, NULL, 0);
	for (int i = 0; i < N; i++) {
		pthread_join(workers[i].thread, NULL);
		CHECK(!workers[i].wrong, "thread %d: %s", i, workers[i].wrong);
	}
	return 0;
}
