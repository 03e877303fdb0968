/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor for many threads: what this kernel takes for its part of a dump and of a restore when nobody does anything
 * else. One process of N threads that sleep, one tracer, one thread that restores; prints ms, the fastest of some runs.
 *
 *   floor [--runs N] THREADS DIR   files are written to and read from DIR (in a tmpfs)
 *
 * A dump has to stop each thread, to ask for its registers (two sets), its mask and its status, to make it do one
 * system call (some of its properties only it can tell), to write a file for it, and to end it. A restore has to read
 * that file, to make the thread, and there is at least one call that each has to make by itself.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 16384, STACK_LEN = 16384, CORE_LEN = 1200 /* of a thread's image */ };

static struct shared {
	atomic_int left; /* threads that are not there yet */
} *shared;

static struct thread {
	pid_t tid;
	struct user_regs_struct regs;
	uint64_t mask;
} *threads;

static size_t nthreads;
static int dir;

static void die(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void must(long r, const char *what)
{
	if (r < 0)
		die(what);
}

/* --- the process, which is what a restore has to make --------------------------------------------------- */

static int idle(void *arg)
{
	uint64_t none = 0;

	(void)arg;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
	if (atomic_fetch_sub(&shared->left, 1) == 1)
		syscall(SYS_futex, &shared->left, FUTEX_WAKE, 1, NULL, NULL, 0);
	for (;;)
		syscall(SYS_pause);
	return 0;
}

static void read_image(size_t i)
{
	char name[32], bytes[CORE_LEN];
	int fd;

	snprintf(name, sizeof(name), "core-%zu.img", i);
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* the first time there is none */
	must(read(fd, bytes, sizeof(bytes)), name);
	close(fd);
}

static void be_process(void)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	char *stacks = mmap(NULL, nthreads * STACK_LEN, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (stacks == MAP_FAILED)
		die("stacks");
	for (size_t i = 1; i < nthreads; i++) {
		read_image(i);
		must(clone(idle, stacks + i * STACK_LEN, flags, NULL), "clone");
	}
	read_image(0);
	idle(NULL);
}

static double make_process(pid_t *ret_pid)
{
	double from = now_ms();
	int left;

	atomic_store(&shared->left, (int)nthreads);
	must(*ret_pid = fork(), "fork");
	if (!*ret_pid)
		be_process();
	while ((left = atomic_load(&shared->left)))
		syscall(SYS_futex, &shared->left, FUTEX_WAIT, left, NULL, NULL, 0);
	return now_ms() - from;
}

/* --- its end, which is what a dump has to do ------------------------------------------------------------ */

static int list(pid_t pid)
{
	char path[64];
	struct dirent *e;
	size_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	d = opendir(path);
	if (!d)
		die(path);
	while ((e = readdir(d)))
		if (e->d_name[0] != '.' && n < nthreads)
			threads[n++].tid = (pid_t)strtol(e->d_name, NULL, 10);
	if (n != nthreads)
		die("threads are missing");
	return dirfd(d);
}

static void await(pid_t tid)
{
	int status;

	must(waitpid(tid, &status, __WALL), "waitpid");
}

static void stop(int task)
{
	(void)task;
	for (size_t i = 0; i < nthreads; i++) {
		must(ptrace(PTRACE_SEIZE, threads[i].tid, NULL, PTRACE_O_TRACESYSGOOD), "seize");
		must(ptrace(PTRACE_INTERRUPT, threads[i].tid, NULL, NULL), "interrupt");
	}
	for (size_t i = 0; i < nthreads; i++)
		await(threads[i].tid);
}

static void look(int task)
{
	for (size_t i = 0; i < nthreads; i++) {
		struct thread *t = &threads[i];
		char bytes[8192], name[32];
		struct iovec v = { bytes, sizeof(bytes) };
		int fd;

		must(ptrace(PTRACE_GETREGS, t->tid, NULL, &t->regs), "registers");
		must(ptrace(PTRACE_GETREGSET, t->tid, NT_X86_XSTATE, &v), "registers");
		must(ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(t->mask), &t->mask), "mask");
		snprintf(name, sizeof(name), "%d/status", t->tid);
		must(fd = openat(task, name, O_RDONLY | O_CLOEXEC), name);
		must(read(fd, bytes, sizeof(bytes)), name);
		close(fd);
	}
}

/* getpid(), by the system call instruction that it stands behind. */
static void call(int task)
{
	uint64_t all = ~UINT64_C(0);

	(void)task;
	for (size_t i = 0; i < nthreads; i++) {
		struct user_regs_struct regs = threads[i].regs;

		regs.rax = SYS_getpid;
		regs.orig_rax = (unsigned long long)-1;
		must(ptrace(PTRACE_SETREGS, threads[i].tid, NULL, &regs), "registers");
		must(ptrace(PTRACE_SETSIGMASK, threads[i].tid, sizeof(all), &all), "mask");
		must(ptrace(PTRACE_SYSCALL, threads[i].tid, NULL, NULL), "call");
	}
	for (size_t i = 0; i < nthreads; i++)
		await(threads[i].tid);
	for (size_t i = 0; i < nthreads; i++) {
		must(ptrace(PTRACE_SETSIGMASK, threads[i].tid, sizeof(uint64_t), &threads[i].mask), "mask");
		must(ptrace(PTRACE_SETREGS, threads[i].tid, NULL, &threads[i].regs), "registers");
	}
}

static void store(int task)
{
	static const char bytes[CORE_LEN];
	char name[32];
	int fd;

	(void)task;
	for (size_t i = 0; i < nthreads; i++) {
		snprintf(name, sizeof(name), "core-%zu.img", i);
		must(fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), name);
		must(write(fd, bytes, sizeof(bytes)), name);
		close(fd);
	}
}

static void finish(int task)
{
	pid_t pid = threads[0].tid; /* the leader is listed first, and ends last */

	(void)task;
	must(kill(pid, SIGKILL), "kill");
	for (size_t i = nthreads; i-- > 0;)
		await(threads[i].tid);
}

static const struct {
	const char *name;
	void (*fn)(int task);
} steps[] = { { "stop", stop }, { "look", look }, { "call", call }, { "store", store }, { "end", finish } };

enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

static void run_once(double least[STEPS + 2])
{
	double ms[STEPS + 2] = { 0 };
	pid_t pid;
	int task;

	ms[STEPS + 1] = make_process(&pid);
	usleep(100000); /* they are all asleep */
	task = list(pid);
	for (size_t i = 0; i < STEPS; i++) {
		double from = now_ms();

		steps[i].fn(task);
		ms[i] = now_ms() - from;
		ms[STEPS] += ms[i];
	}
	close(task);
	for (size_t i = 0; i < STEPS + 2; i++)
		if (least[i] < 0 || ms[i] < least[i])
			least[i] = ms[i];
}

int main(int argc, char **argv)
{
	double least[STEPS + 2];
	int runs = 10;

	if (argc > 2 && !strcmp(argv[1], "--runs")) {
		runs = (int)strtol(argv[2], NULL, 10);
		argv += 2;
		argc -= 2;
	}
	nthreads = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	if (!nthreads || nthreads > THREADS_MAX || runs < 1) {
		fprintf(stderr, "usage: floor [--runs N] THREADS DIR\n");
		return 1;
	}
	dir = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(dir, argv[2]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	threads = calloc(nthreads, sizeof(*threads));
	if (shared == MAP_FAILED || !threads)
		die("memory");
	for (size_t i = 0; i < STEPS + 2; i++)
		least[i] = -1;
	for (int i = 0; i <= runs; i++) { /* the first one has no images to read */
		if (i == 1)
			least[STEPS + 1] = -1;
		run_once(least);
	}
	printf("dump:    %.1f ms\n", least[STEPS]);
	for (size_t i = 0; i < STEPS; i++)
		printf("  %-6s %.1f\n", steps[i].name, least[i]);
	printf("restore: %.1f ms\n", least[STEPS + 1]);
	return 0;
}
