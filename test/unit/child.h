/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children to look at, for the unit tests of src/kern: each prepares itself, says so
 * through a pipe and waits. They die with the test. child_start() returns when the child is ready.
 */
#ifndef TEST_CHILD_H
#define TEST_CHILD_H

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef void child_fn(void *arg, int ready_fd);

static inline void child_ready(int fd)
{
	if (write(fd, "", 1) != 1)
		_exit(3);
	close(fd);
}

static inline void child_wait(void)
{
	for (;;)
		pause();
}

/* fn calls child_ready() and does not return (if it does: it waits forever). */
static inline pid_t child_start(child_fn *fn, void *arg)
{
	int p[2];
	char c;
	pid_t pid;

	if (pipe(p) < 0)
		abort();
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(p[0]);
		fn(arg, p[1]);
		child_wait();
	}
	close(p[1]);
	if (pid < 0 || read(p[0], &c, 1) != 1)
		abort();
	close(p[0]);
	return pid;
}

static inline void child_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static inline void *child_idle(void *arg)
{
	(void)arg;
	child_wait();
	return NULL;
}

static inline void child_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	if (pthread_create(&t, &attr, fn, arg))
		_exit(4);
	pthread_attr_destroy(&attr);
}

#endif
