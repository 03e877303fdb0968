/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw read ceiling: how fast this machine moves files' bytes into fresh memory when nobody does anything else.
 *
 *   ceiling [--runs N] THREADS PAGES FILE...   PAGES 4k, 2m, or direct (2m, past the page cache); prints seconds and
 *                                              bytes per second of the fastest of N runs (3)
 *   ceiling --warm BYTES THREADS               touches that much memory once and gives it back
 *   ceiling --evict FILE...                    drops the files from the page cache; prints how many bytes stayed there
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

enum { CHUNK_LEN = 2 << 20, THREADS_MAX = 256, PAGE = 4096 };

struct piece {
	int fd; /* -1: only touch it */
	off_t off;
	size_t len, at; /* bytes, place in memory: pieces stand CHUNK_LEN apart */
};

struct job {
	struct piece *pieces;
	size_t n, bytes;
	char *mem;
	atomic_size_t next; /* the first piece nobody took; all threads */
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

/* Fresh memory, aligned to 2 MiB. What is mapped beside it is never touched, so it is left. */
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

static void piece_touch(const struct job *j, const struct piece *k)
{
	for (size_t i = 0; i < k->len; i += PAGE)
		((volatile char *)j->mem)[k->at + i] = 1;
}

static void piece_read(struct job *j, const struct piece *k)
{
	for (size_t done = 0; done < k->len;) {
		ssize_t n = pread(k->fd, j->mem + k->at + done, k->len - done, k->off + (off_t)done);

		if (n <= 0) {
			j->err = n < 0 ? errno : EIO;
			return;
		}
		done += (size_t)n;
	}
}

static void *reader(void *arg)
{
	struct job *j = arg;
	size_t i;

	pthread_barrier_wait(&j->start); /* all are there: the clock is started */
	pthread_barrier_wait(&j->start);
	while ((i = atomic_fetch_add(&j->next, 1)) < j->n)
		if (j->pieces[i].fd < 0)
			piece_touch(j, &j->pieces[i]);
		else
			piece_read(j, &j->pieces[i]);
	return NULL;
}

/* Seconds for all pieces with n threads. */
static double job_run(struct job *j, unsigned n, bool huge)
{
	pthread_t t[THREADS_MAX];
	double t0;

	j->mem = fresh(j->n * CHUNK_LEN, huge);
	j->next = 0;
	pthread_barrier_init(&j->start, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		int e = pthread_create(&t[i], NULL, reader, j);

		if (e)
			die("thread", e);
	}
	pthread_barrier_wait(&j->start);
	t0 = now(); /* before they may begin: they could be done before this thread runs again */
	pthread_barrier_wait(&j->start);
	for (unsigned i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	t0 = now() - t0;
	pthread_barrier_destroy(&j->start);
	munmap(j->mem, j->n * CHUNK_LEN);
	if (j->err)
		die("read", j->err);
	return t0;
}

static void job_add(struct job *j, int fd, size_t len)
{
	size_t add = (len + CHUNK_LEN - 1) / CHUNK_LEN;

	j->pieces = realloc(j->pieces, (j->n + add) * sizeof(*j->pieces));
	if (add && !j->pieces)
		die("pieces", ENOMEM);
	for (size_t off = 0; off < len; off += CHUNK_LEN, j->n++)
		j->pieces[j->n] = (struct piece){
			.fd = fd,
			.off = (off_t)off,
			.len = off + CHUNK_LEN < len ? CHUNK_LEN : len - off,
			.at = j->n * CHUNK_LEN,
		};
	j->bytes += len;
}

static int file_open(const char *path, int flags, size_t *ret_len)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	if (fd < 0 || fstat(fd, &st))
		die(path, errno);
	*ret_len = (size_t)st.st_size;
	return fd;
}

static unsigned threads_of(const char *word)
{
	unsigned long n = strtoul(word, NULL, 0);

	return n >= 1 && n <= THREADS_MAX ? (unsigned)n : 0;
}

static int warm(size_t len, unsigned threads)
{
	struct job j = { 0 };

	job_add(&j, -1, len);
	job_run(&j, threads, true);
	return 0;
}

/* A file's dirty pages cannot be dropped: they are written first. */
static size_t file_evict(const char *path)
{
	size_t len, stay = 0;
	int fd = file_open(path, 0, &len);
	unsigned char *in;
	void *p;

	if (fdatasync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		die(path, errno);
	p = len ? mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0) : NULL;
	in = calloc(len / PAGE + 1, 1);
	if (p == MAP_FAILED || !in || (p && mincore(p, len, in)))
		die(path, errno);
	for (size_t i = 0; i < (len + PAGE - 1) / PAGE; i++)
		stay += in[i] & 1;
	free(in);
	if (p)
		munmap(p, len);
	close(fd);
	return stay * PAGE;
}

static int evict(char **files)
{
	size_t stay = 0;

	for (; *files; files++)
		stay += file_evict(*files);
	printf("%zu\n", stay);
	return 0;
}

static int ceiling(unsigned runs, unsigned threads, const char *pages, char **files)
{
	bool direct = !strcmp(pages, "direct");
	struct job j = { 0 };
	double best = 0;
	size_t len;

	for (; *files; files++) {
		int fd = file_open(*files, direct ? O_DIRECT : 0, &len);

		job_add(&j, fd, len);
	}
	if (!j.n)
		die("nothing to read", ENODATA);
	for (unsigned i = 0; i < runs; i++) {
		double s = job_run(&j, threads, strcmp(pages, "4k") != 0);

		if (!best || s < best)
			best = s;
	}
	printf("%.6f %.0f\n", best, (double)j.bytes / best);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: ceiling [--runs N] THREADS 4k|2m|direct FILE...\n"
			"       ceiling --warm BYTES THREADS\n       ceiling --evict FILE...\n");
	return 1;
}

int main(int argc, char **argv)
{
	unsigned runs = 3, threads;

	if (argc == 4 && !strcmp(argv[1], "--warm") && threads_of(argv[3]))
		return warm(strtoul(argv[2], NULL, 0), threads_of(argv[3]));
	if (argc > 2 && !strcmp(argv[1], "--evict"))
		return evict(argv + 2);
	if (argc > 2 && !strcmp(argv[1], "--runs")) {
		runs = threads_of(argv[2]);
		argv += 2;
		argc -= 2;
	}
	threads = argc > 3 ? threads_of(argv[1]) : 0;
	if (!threads || !runs || (strcmp(argv[2], "4k") && strcmp(argv[2], "2m") && strcmp(argv[2], "direct")))
		return usage();
	return ceiling(runs, threads, argv[2], argv + 3);
}
