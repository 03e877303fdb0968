/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes of four threads each that count for ever and check themselves at every step; what the tests of a
 * killed thaw dump and restore.
 *
 *   counting BOARD    a file, mapped shared; struct board is read by board.py
 *
 * Each thread keeps one and the same number in an integer register, in a floating-point register and as the n-th value
 * of a generator, sleeps now and then in the kernel, and is hit by timer signals all the while. A register, an
 * interrupted call or a signal mask that was not put back shows as a wrong step.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 2, THREADS = 4, BATCH = 20000 };

static struct board {
	_Atomic uint64_t up;				/* threads that started */
	_Atomic uint64_t wrong;				/* steps that came out wrong */
	_Atomic uint64_t signals;			/* timer signals taken */
	_Atomic uint64_t count[PROCESSES * THREADS];
} *board;

static uint64_t next(uint64_t x)
{
	return x * 6364136223846793005u + 1442695040888963407u;
}

/* The value after n steps from 0, in O(log n). */
static uint64_t jump(uint64_t n)
{
	uint64_t mul = 1, add = 0, a = 6364136223846793005u, c = 1442695040888963407u;

	for (; n; n >>= 1) {
		if (n & 1) {
			mul *= a;
			add = add * a + c;
		}
		c *= a + 1;
		a *= a;
	}
	return add;
}

static void on_alarm(int sig)
{
	volatile double spoil = sig * 1.5; /* dirties floating-point registers */

	(void)spoil;
	atomic_fetch_add(&board->signals, 1);
}

static void *count(void *arg)
{
	_Atomic uint64_t *mine = arg;
	uint64_t n = 0, x = 0;
	double d = 0;

	atomic_fetch_add(&board->up, 1);
	for (;;) {
		struct timespec nap = { 0, 300000 };

		for (int i = 0; i < BATCH; i++) {
			x = next(x);
			d += 1;
			n++;
		}
		if (x != jump(n) || d != (double)n)
			atomic_fetch_add(&board->wrong, 1);
		if (clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL) > 0 && nap.tv_nsec != 300000)
			atomic_fetch_add(&board->wrong, 1);
		atomic_store(mine, n);
	}
	return NULL;
}

static void process(int first)
{
	struct itimerval tick = { { 0, 3000 }, { 0, 3000 } };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	pthread_t t;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
	for (int i = 1; i < THREADS; i++)
		if (pthread_create(&t, NULL, count, &board->count[first + i]))
			_exit(1);
	count(&board->count[first]);
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;

	if (fd < 0 || ftruncate(fd, sizeof(*board)))
		return 2;
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED)
		return 2;
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		process(THREADS);
	}
	process(0);
}
