/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of so many processes that several tracers share it: all of them come back with their registers and signal
 * masks, some with threads that are on the run, some stopped; every third in a session of its own.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "subject.h"

enum { CHILDREN = 40 };

/* What they share with their parent. */
struct slot {
	volatile pid_t pid;
	volatile unsigned long count; /* by a thread that never rests */
	volatile int ready, answers;
};

static struct slot *slots;
static volatile int mine;

static void *counts(void *arg)
{
	for (;;)
		((struct slot *)arg)->count++;
	return NULL;
}

static void on_usr1(int sig)
{
	(void)sig;
	slots[mine].answers++;
}

static int runs(int i)
{
	return i % 16 == 5;
}

static int stops(int i)
{
	return i % 10 == 4;
}

/* Its mask has to come back, too: SIGUSR2 is blocked, SIGUSR1 is not. */
static void live(int i)
{
	struct sigaction sa = { .sa_handler = on_usr1 };
	sigset_t mask;
	pthread_t th;

	mine = i;
	slots[i].pid = getpid();
	if (i % 3 == 0)
		setsid();
	sigaction(SIGUSR1, &sa, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (runs(i) && pthread_create(&th, NULL, counts, &slots[i]))
		_exit(1);
	slots[i].ready = 1;
	for (;;)
		pause();
}

static void start(int i)
{
	pid_t pid = fork();

	CHECK(pid >= 0, "fork");
	if (!pid)
		live(i);
	while (!slots[i].ready || (runs(i) && !slots[i].count))
		usleep(200);
	if (stops(i)) {
		int status;

		CHECK(!kill(pid, SIGSTOP), "stop");
		CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "wait for the stop");
	}
}

static void look(int i)
{
	unsigned long before = slots[i].count;
	pid_t pid = slots[i].pid;
	int status;

	if (stops(i)) {
		usleep(1000);
		CHECK(slots[i].count == before, "the stopped child %d ran", i);
		CHECK(!kill(pid, SIGCONT), "continue");
	}
	CHECK(!kill(pid, SIGUSR2) && !kill(pid, SIGUSR1), "child %d is gone", i);
	for (int tries = 0; (!slots[i].answers || (runs(i) && slots[i].count == before)) && tries < 10000; tries++)
		usleep(1000);
	CHECK(slots[i].answers == 1, "child %d answered %d times", i, slots[i].answers);
	CHECK(!runs(i) || slots[i].count != before, "the thread of child %d does not run", i);
	CHECK(!kill(pid, SIGKILL) && waitpid(pid, &status, 0) == pid, "end child %d", i);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "child %d ended with status 0x%x", i, status);
}

int main(void)
{
	slots = mmap(NULL, CHILDREN * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(slots != MAP_FAILED, "mmap");
	for (int i = 0; i < CHILDREN; i++)
		start(i);

	subject_ready();

	for (int i = 0; i < CHILDREN; i++)
		look(i);
	return 0;
}
