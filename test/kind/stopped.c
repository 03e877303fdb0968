/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopped processes with threads that would count: they stay stopped, no thread runs one step, and SIGCONT sets all
 * going.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "subject.h"

enum { CHILDREN = 2, THREADS = 4 };

static const int stop_signal[CHILDREN] = { SIGSTOP, SIGTSTP };
static volatile unsigned long (*count)[THREADS];

static void *counts(void *arg)
{
	for (;;)
		++*(volatile unsigned long *)arg;
	return NULL;
}

static pid_t start(int child)
{
	pthread_t th;
	pid_t pid = fork();

	CHECK(pid >= 0, "fork");
	if (pid)
		return pid;
	setpgid(0, 0); /* SIGTSTP does nothing in a group that has no parent in its session */
	for (int i = 1; i < THREADS; i++)
		if (pthread_create(&th, NULL, counts, (void *)&count[child][i]))
			_exit(1);
	counts((void *)&count[child][0]);
	_exit(1);
}

static int moved(int child, const unsigned long *before)
{
	int n = 0;

	for (int i = 0; i < THREADS; i++)
		n += count[child][i] != before[i];
	return n;
}

static char state(pid_t pid)
{
	char path[64], line[256] = "", *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	CHECK(f && fgets(line, sizeof(line), f) && (at = strrchr(line, ')')), "stat of %d", pid);
	fclose(f);
	return at[2];
}

int main(void)
{
	unsigned long before[CHILDREN][THREADS] = { 0 };
	pid_t pid[CHILDREN];
	int status;

	count = mmap(NULL, CHILDREN * sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(count != MAP_FAILED, "mmap");
	for (int i = 0; i < CHILDREN; i++) {
		pid[i] = start(i);
		while (moved(i, before[i]) < THREADS)
			usleep(1000);
		CHECK(!kill(pid[i], stop_signal[i]), "stop");
		CHECK(waitpid(pid[i], &status, WUNTRACED) == pid[i] && WIFSTOPPED(status), "wait for the stop");
		for (int k = 0; k < THREADS; k++)
			before[i][k] = count[i][k];
	}

	subject_ready();

	for (int i = 0; i < CHILDREN; i++) {
		CHECK(state(pid[i]) == 'T', "child %d is in state %c", i, state(pid[i]));
		CHECK(moved(i, before[i]) == 0, "%d threads of the stopped child %d ran", moved(i, before[i]), i);
		CHECK(!kill(pid[i], SIGCONT), "continue");
		for (int tries = 0; moved(i, before[i]) < THREADS && tries < 10000; tries++)
			usleep(1000);
		CHECK(moved(i, before[i]) == THREADS, "SIGCONT set only %d threads of child %d going", moved(i, before[i]), i);
		CHECK(!kill(pid[i], SIGKILL) && waitpid(pid[i], &status, 0) == pid[i], "end child %d", i);
	}
	return 0;
}
