/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crowd that never stands still by itself: a parent and its children, each of which makes a thread, waits for its
 * end, and makes the next; what the tests of a dump with several tracers stop.
 *
 *   crowd BOARD PROCESSES    BOARD: a file, mapped shared; struct board is read by crowd.py
 *
 * Told by SIGUSR1 a process puts itself under a seccomp filter that allows everything: thaw does not dump it.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MAX = 200, THREAD_STACK = 64 * 1024 };

static struct board {
	_Atomic uint64_t up;                   /* processes that have made a thread */
	_Atomic uint64_t wrong;                /* threads that did not come out right */
	_Atomic uint64_t count[PROCESSES_MAX]; /* threads that each process has made */
} *board;

static _Thread_local uint64_t own;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void on_usr1(int sig)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { 1, &all };

	(void)sig;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* Its registers, its stack and its thread-local data hold one and the same number. */
static void *add_one(void *arg)
{
	uint64_t number = (uint64_t)(uintptr_t)arg;
	volatile uint64_t on_stack = number;
	struct timespec nap = { 0, 100000 };

	own = number;
	nanosleep(&nap, NULL);
	return (void *)(uintptr_t)(own == number && on_stack == number ? number + 1 : 0); // NOLINT
}

static void go_on(size_t me)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	for (uint64_t n = 0;; n++) {
		pthread_t thread;
		void *next = NULL;

		if (pthread_create(&thread, &attr, add_one, (void *)(uintptr_t)n)) // NOLINT
			die("pthread_create");
		pthread_join(thread, &next);
		if ((uint64_t)(uintptr_t)next != n + 1)
			atomic_fetch_add(&board->wrong, 1);
		atomic_store(&board->count[me], n + 1);
		if (!n)
			atomic_fetch_add(&board->up, 1);
	}
}

int main(int argc, char **argv)
{
	size_t n = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
	struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	int fd = n && n <= PROCESSES_MAX ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;

	if (fd < 0 || ftruncate(fd, sizeof(*board)) < 0)
		die("crowd BOARD PROCESSES");
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED)
		die("mmap");
	close(fd);
	sigaction(SIGUSR1, &sa, NULL);
	for (size_t i = 1; i < n; i++)
		if (!fork())
			go_on(i);
	go_on(0);
}
