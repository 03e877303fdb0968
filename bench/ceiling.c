/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw read ceiling: how fast this machine moves a file's bytes into fresh memory when nobody does anything else.
 *
 *   ceiling FILE THREADS PAGES     PAGES 4k or 2m; prints seconds and bytes per second of the fastest of three runs
 *   ceiling --warm BYTES           touches that much memory once and gives it back
 *
 * N threads take 2 MiB chunks from one counter and pread() them into a mapping that was never touched. A restore has
 * to do at least this, so it is what a restore's time is held against. What the clock sees is reading and faulting;
 * mapping, starting the threads and unmapping stay outside.
 *
 * --warm is for virtual machines whose host gives them memory only at the first touch, which is many times slower
 * than any later one and would be counted against whoever comes first.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK_LEN = 2 << 20, THREADS_MAX = 256, RUNS = 3 };

struct job {
	int fd;
	char *mem;
	size_t len;
	atomic_size_t next; /* offset of the next chunk nobody took; all threads */
	atomic_int err;
	pthread_barrier_t start;
};

static void die(const char *what, int err)
{
	fprintf(stderr, "ceiling: %s: %s\n", what, strerror(err));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static char *fresh(size_t len, bool huge)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	char *p = mmap(NULL, len + CHUNK_LEN, PROT_READ | PROT_WRITE, flags, -1, 0);

	if (p == MAP_FAILED)
		die("mmap", errno);
	p += CHUNK_LEN - (size_t)p % CHUNK_LEN;
	if (madvise(p, len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) && huge)
		die("huge pages", errno);
	return p;
}

static void chunk_read(struct job *j, size_t off)
{
	size_t end = off + CHUNK_LEN < j->len ? off + CHUNK_LEN : j->len;

	while (off < end) {
		ssize_t n = pread(j->fd, j->mem + off, end - off, (off_t)off);

		if (n <= 0) {
			j->err = n < 0 ? errno : EIO;
			return;
		}
		off += (size_t)n;
	}
}

static void *reader(void *arg)
{
	struct job *j = arg;
	size_t off;

	pthread_barrier_wait(&j->start);
	while ((off = atomic_fetch_add(&j->next, CHUNK_LEN)) < j->len)
		chunk_read(j, off);
	return NULL;
}

static double job_run(struct job *j, unsigned n)
{
	pthread_t t[THREADS_MAX];
	double t0;

	pthread_barrier_init(&j->start, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		int e = pthread_create(&t[i], NULL, reader, j);

		if (e)
			die("thread", e);
	}
	pthread_barrier_wait(&j->start);
	t0 = now();
	for (unsigned i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	t0 = now() - t0;
	pthread_barrier_destroy(&j->start);
	if (j->err)
		die("read", j->err);
	return t0;
}

static double ceiling(int fd, size_t len, unsigned threads, bool huge)
{
	double best = 0;

	for (int i = 0; i < RUNS; i++) {
		struct job j = { .fd = fd, .mem = fresh(len, huge), .len = len };
		double s = job_run(&j, threads);

		munmap(j.mem, len);
		if (!best || s < best)
			best = s;
	}
	return best;
}

static int warm(size_t len)
{
	char *p = fresh(len, true);

	for (size_t i = 0; i < len; i += 4096)
		p[i] = 1;
	return 0;
}

int main(int argc, char **argv)
{
	struct stat st;
	double seconds;
	unsigned threads;
	int fd;

	if (argc == 3 && !strcmp(argv[1], "--warm"))
		return warm(strtoul(argv[2], NULL, 0));
	threads = argc == 4 ? (unsigned)strtoul(argv[2], NULL, 0) : 0;
	if (threads < 1 || threads > THREADS_MAX || (strcmp(argv[3], "4k") && strcmp(argv[3], "2m"))) {
		fprintf(stderr, "usage: ceiling FILE THREADS 4k|2m\n       ceiling --warm BYTES\n");
		return 1;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die(argv[1], errno);
	if (!st.st_size)
		die(argv[1], ENODATA);
	seconds = ceiling(fd, (size_t)st.st_size, threads, argv[3][0] == '2');
	printf("%.6f %.0f\n", seconds, (double)st.st_size / seconds);
	return 0;
}
