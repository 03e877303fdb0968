/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint subject: sets up kernel state of one kind, waits to be
 * checkpointed and restored, and verifies the state when told to.
 *
 *   subject KIND STATE-FILE
 *
 * It writes "ready PID" to STATE-FILE once it is set up.  On SIGTERM it
 * verifies everything, writes "PASS" or "FAIL: reason", and exits 0 or 1.
 * Kinds: mem, threads, tree, fds.  Build: cc -O2 -static -pthread.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *state_file;
static volatile sig_atomic_t told;

static void on_term(int sig)
{
	(void)sig;
	told = 1;
}

static void state(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fd = open(state_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, line, n) != n)
		_exit(99);
	close(fd);
}

#define FAIL(...) do { state("FAIL: " __VA_ARGS__); _exit(1); } while (0)

static void wait_told(void)
{
	sigset_t none;

	sigemptyset(&none);
	state("ready %d\n", getpid());
	while (!told)
		sigsuspend(&none);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= 0x9E3779B97F4A7C15ull;
	x ^= x >> 29;
	return x;
}

static void fill(void *mem, size_t len, uint64_t seed)
{
	uint64_t *p = mem;

	for (size_t i = 0; i < len / 8; i++)
		p[i] = mix((i >> 6) + seed);
}

static int same(const void *mem, size_t len, uint64_t seed)
{
	const uint64_t *p = mem;

	for (size_t i = 0; i < len / 8; i++)
		if (p[i] != mix((i >> 6) + seed))
			return 0;
	return 1;
}

static void *anon(size_t len, int flags)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		_exit(98);
	return p;
}

#define MIB (1ul << 20)

/* --- mem: private, sparse, read-only, huge, shared, memfd, file, guard ---- */
static int run_mem(void)
{
	char *priv = anon(8 * MIB, MAP_PRIVATE), *sparse = anon(64 * MIB, MAP_PRIVATE);
	char *ro = anon(MIB, MAP_PRIVATE), *shared = anon(2 * MIB, MAP_SHARED);
	char *thp = anon(6 * MIB, MAP_PRIVATE), *none = anon(MIB, MAP_PRIVATE), *file, *mfd;
	char *zero = anon(4 * MIB, MAP_PRIVATE);
	int fd = memfd_create("subject", 0);
	int self = open("/proc/self/exe", O_RDONLY);

	if (fd < 0 || self < 0 || ftruncate(fd, MIB))
		_exit(97);
	madvise(thp, 6 * MIB, MADV_HUGEPAGE);
	mfd = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	file = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, self, 0);
	fill(priv, 8 * MIB, 1);
	for (size_t i = 0; i + 8192 <= 64 * MIB; i += 3 * 4096)
		fill(sparse + i, 4096, 2 + i);
	fill(ro, MIB, 3);
	mprotect(ro, MIB, PROT_READ);
	fill(shared, 2 * MIB, 4);
	fill(thp, 6 * MIB, 5);
	fill(mfd, MIB, 6);
	fill(none, MIB, 7);
	mprotect(none, MIB, PROT_NONE);
	fill(file + 4096, 4096, 8);
	if (zero[12345])
		_exit(96);
	mlock(priv, 4096);

	wait_told();

	if (!same(priv, 8 * MIB, 1))
		FAIL("private memory");
	for (size_t i = 0; i + 8192 <= 64 * MIB; i += 3 * 4096)
		if (!same(sparse + i, 4096, 2 + i) || sparse[i + 4096])
			FAIL("sparse memory at %zu", i);
	if (!same(ro, MIB, 3))
		FAIL("read-only memory");
	if (!same(shared, 2 * MIB, 4))
		FAIL("shared anonymous memory");
	if (!same(thp, 6 * MIB, 5))
		FAIL("huge-page memory");
	if (!same(mfd, MIB, 6) || lseek(fd, 0, SEEK_END) != (off_t)MIB)
		FAIL("memfd");
	mprotect(none, MIB, PROT_READ);
	if (!same(none, MIB, 7))
		FAIL("PROT_NONE memory");
	if (!same(file + 4096, 4096, 8) || memcmp(file, "\177ELF", 4))
		FAIL("private file mapping");
	for (size_t i = 0; i < 4 * MIB; i += 4096)
		if (zero[i])
			FAIL("untouched memory at %zu", i);
	ro = sbrk(0);
	if (sbrk(4096) != ro)
		FAIL("brk");
	return 0;
}

/* --- threads: ids, TLS, masks, names, futexes, floating point ------------- */
#define NTHREADS 8
static int go_futex;
static __thread uint64_t tls_word;
static struct worker { pthread_t th; pid_t tid; int ok; } workers[NTHREADS];

static void *thread_main(void *arg)
{
	struct worker *w = arg;
	int id = w - workers;
	char name[16], now[16];
	sigset_t set, after;
	double x = 1.0 + id;

	w->tid = syscall(SYS_gettid);
	tls_word = mix(id);
	snprintf(name, sizeof(name), "subj-%d", id);
	prctl(PR_SET_NAME, name);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + id % 4);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	asm volatile("movq %0, %%xmm15" ::"x"(x) : "xmm15");
	__atomic_add_fetch(&go_futex, 0, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&go_futex, __ATOMIC_SEQ_CST) == 0)
		syscall(SYS_futex, &go_futex, FUTEX_WAIT, 0, NULL, NULL, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	prctl(PR_GET_NAME, now);
	w->ok = w->tid == syscall(SYS_gettid) && tls_word == mix(id) && !strcmp(name, now) &&
		sigismember(&after, SIGRTMIN + id % 4) && x == 1.0 + id;
	return NULL;
}

static int run_threads(void)
{
	for (int i = 0; i < NTHREADS; i++)
		if (pthread_create(&workers[i].th, NULL, thread_main, &workers[i]))
			_exit(95);
	usleep(200000);
	wait_told();
	__atomic_store_n(&go_futex, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &go_futex, FUTEX_WAKE, NTHREADS, NULL, NULL, 0);
	for (int i = 0; i < NTHREADS; i++) {
		pthread_join(workers[i].th, NULL);
		if (!workers[i].ok)
			FAIL("thread %d", i);
	}
	return 0;
}

/* --- tree: children, session, pipes, shared memory, copy-on-write, zombie -- */
static int run_tree(void)
{
	char *cow = anon(4 * MIB, MAP_PRIVATE), *shm = anon(MIB, MAP_SHARED);
	int up[2], down[2], st, zfd;
	pid_t kid, grandkid_session = 0, zombie;
	char buf[64];

	fill(cow, 4 * MIB, 11);
	if (pipe(up) || pipe(down))
		_exit(94);
	zombie = fork();
	if (!zombie)
		_exit(42);
	kid = fork();
	if (!kid) {
		pid_t g;

		setsid();
		fill(cow, 4096, 12);
		g = fork();
		if (!g) {
			char c;

			close(up[1]);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (read(down[0], &c, 1) != 1)
				_exit(1);
			fill(shm + 4096, 4096, 14);
			_exit(same(cow, 4096, 12) && same(cow + 4096, 4096, 11 + 8) ? 7 : 8);
		}
		fill(shm, 4096, 13);
		if (write(up[1], "hello", 5) != 5)
			_exit(1);
		while (waitpid(g, &st, 0) < 0 && errno == EINTR)
			;
		_exit(WIFEXITED(st) && WEXITSTATUS(st) == 7 && getsid(0) == getpid() ? 9 : 10);
	}
	usleep(200000);
	zfd = open(state_file, O_RDONLY);
	(void)grandkid_session;
	wait_told();
	if (!same(cow, 4 * MIB, 11))
		FAIL("parent's copy of inherited memory");
	if (!same(shm, 4096, 13))
		FAIL("shared memory");
	if (read(up[0], buf, sizeof(buf)) != 5 || memcmp(buf, "hello", 5))
		FAIL("data in a pipe");
	if (waitpid(zombie, &st, 0) != zombie || !WIFEXITED(st) || WEXITSTATUS(st) != 42)
		FAIL("zombie child");
	if (write(down[1], "x", 1) != 1)
		FAIL("pipe to a grandchild");
	while (waitpid(kid, &st, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(st) || WEXITSTATUS(st) != 9)
		FAIL("child's own checks: status %x", st);
	if (!same(shm + 4096, 4096, 14))
		FAIL("shared memory written after restore");
	close(zfd);
	return 0;
}

/* --- fds: sockets, epoll, eventfd, timerfd, signalfd, fifo, file positions - */
static int run_fds(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), ev = eventfd(7, EFD_NONBLOCK), tf, sf, us[2], ud[2], ls, a, b, reg, dup1, fifo;
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 0x1122334455667788ull }, got[4];
	struct itimerspec its = { { 1000, 0 }, { 500, 0 } };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	char buf[64], path[300];
	uint64_t n;
	sigset_t set;

	epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e);
	tf = timerfd_create(CLOCK_MONOTONIC, 0);
	timerfd_settime(tf, 0, &its, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sf = signalfd(-1, &set, 0);
	kill(getpid(), SIGUSR2);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, us) || socketpair(AF_UNIX, SOCK_DGRAM, 0, ud))
		_exit(93);
	if (write(us[0], "stream", 6) != 6 || write(ud[0], "gram", 4) != 4)
		_exit(92);
	ls = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(ls, (void *)&sin, sizeof(sin)) || listen(ls, 16) || getsockname(ls, (void *)&sin, &len))
		_exit(91);
	reg = open(state_file, O_RDWR | O_CREAT, 0644);
	dup1 = dup(reg);
	fcntl(dup1, F_SETFD, FD_CLOEXEC);
	snprintf(path, sizeof(path), "%s.fifo", state_file);
	unlink(path);
	mkfifo(path, 0600);
	fifo = open(path, O_RDWR);
	if (write(fifo, "fifo", 4) != 4)
		_exit(90);
	state("ready %d\n", getpid());
	lseek(reg, 3, SEEK_SET);

	{
		sigset_t none;

		sigemptyset(&none);
		sigaddset(&none, SIGUSR2);
		while (!told)
			sigsuspend(&none);
	}

	if (epoll_wait(ep, got, 4, 0) != 1 || got[0].data.u64 != 0x1122334455667788ull)
		FAIL("epoll");
	if (read(ev, &n, 8) != 8 || n != 7)
		FAIL("eventfd");
	memset(&its, 0, sizeof(its));
	if (timerfd_gettime(tf, &its) || its.it_interval.tv_sec != 1000 || its.it_value.tv_sec < 1)
		FAIL("timerfd");
	{
		struct signalfd_siginfo si;

		if (read(sf, &si, sizeof(si)) != sizeof(si) || si.ssi_signo != SIGUSR2)
			FAIL("signalfd or pending signal");
	}
	if (read(us[1], buf, sizeof(buf)) != 6 || memcmp(buf, "stream", 6))
		FAIL("unix stream queue");
	if (read(ud[1], buf, sizeof(buf)) != 4 || memcmp(buf, "gram", 4))
		FAIL("unix datagram queue");
	a = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(a, (void *)&sin, sizeof(sin)))
		FAIL("connect to the restored listening socket: %s", strerror(errno));
	b = accept(ls, NULL, NULL);
	if (b < 0 || write(a, "tcp", 3) != 3 || read(b, buf, sizeof(buf)) != 3)
		FAIL("accept on the restored listening socket");
	if (lseek(dup1, 0, SEEK_CUR) != 3 || !(fcntl(dup1, F_GETFD) & FD_CLOEXEC) || (fcntl(reg, F_GETFD) & FD_CLOEXEC))
		FAIL("shared file position or descriptor flags");
	if (read(fifo, buf, sizeof(buf)) != 4 || memcmp(buf, "fifo", 4))
		FAIL("fifo contents");
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_term };
	sigset_t set;
	int bad;

	if (argc != 3) {
		fprintf(stderr, "usage: subject mem|threads|tree|fds STATE-FILE\n");
		return 2;
	}
	state_file = argv[2];
	sigaction(SIGTERM, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (!strcmp(argv[1], "mem"))
		bad = run_mem();
	else if (!strcmp(argv[1], "threads"))
		bad = run_threads();
	else if (!strcmp(argv[1], "tree"))
		bad = run_tree();
	else
		bad = run_fds();
	if (!bad)
		state("PASS\n");
	return bad;
}
