/* SPDX-License-Identifier: Apache-2.0 */
/* Signal actions, masks and alternate stacks of two threads; pending signals with their values, shared and private. */
#include <pthread.h>
#include <sys/syscall.h>

#include "subject.h"

enum { RT = 36, QUEUED = 5, STACK = 32768 };

static pthread_barrier_t before, after;
static char stack1[STACK], stack2[STACK];

static void handler(int sig)
{
	(void)sig;
}

static void info_handler(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
}

static void set_action(int sig, void (*fn)(int), int flags, int masked)
{
	struct sigaction sa = { .sa_handler = fn, .sa_flags = flags };

	if (masked)
		sigaddset(&sa.sa_mask, masked);
	CHECK(!sigaction(sig, &sa, NULL), "set action %d", sig);
}

static void check_action(int sig, void (*fn)(int), int flags, int masked)
{
	struct sigaction sa;

	CHECK(!sigaction(sig, NULL, &sa), "get action %d", sig);
	CHECK(sa.sa_handler == fn, "handler of %d", sig);
	CHECK((sa.sa_flags & ~0x04000000) == flags, "flags of %d: %x", sig, (unsigned)sa.sa_flags);
	for (int i = 1; i <= 64; i++)
		CHECK((sigismember(&sa.sa_mask, i) == 1) == (i == masked), "mask of %d: %d", sig, i);
}

static void set_stack(char *stack, size_t len)
{
	stack_t s = { .ss_sp = stack, .ss_size = len };

	CHECK(!sigaltstack(&s, NULL), "sigaltstack");
}

static void check_stack(const char *stack, size_t len)
{
	stack_t s;

	CHECK(!sigaltstack(NULL, &s), "sigaltstack");
	CHECK(s.ss_sp == stack && s.ss_size == len && !s.ss_flags, "alternate stack %p %zu %d", s.ss_sp, s.ss_size,
	      s.ss_flags);
}

static void block(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(!pthread_sigmask(SIG_BLOCK, &set, NULL), "block %d", sig);
}

static void check_blocked(int a, int b)
{
	sigset_t set;

	CHECK(!pthread_sigmask(SIG_BLOCK, NULL, &set), "get the mask");
	for (int i = 1; i <= 64; i++)
		CHECK((sigismember(&set, i) == 1) == (i == SIGTERM || i == SIGUSR2 || i == RT || i == a || i == b),
		      "blocked: %d", i);
}

static siginfo_t next(int sig)
{
	siginfo_t info = { 0 };
	struct timespec none = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(sigtimedwait(&set, &info, &none) == sig, "signal %d is not pending", sig);
	return info;
}

static void none_left(int sig)
{
	struct timespec none = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	CHECK(sigtimedwait(&set, NULL, &none) == -1 && errno == EAGAIN, "signal %d is pending once more", sig);
}

static void *second(void *arg)
{
	siginfo_t info;
	int code;

	(void)arg;
	block(SIGUSR1);
	block(RT + 1);
	set_stack(stack2, STACK);
	CHECK(!pthread_sigqueue(pthread_self(), RT + 1, (union sigval){ .sival_int = 77 }), "queue to a thread");
	CHECK(!pthread_sigqueue(pthread_self(), RT + 1, (union sigval){ .sival_int = 78 }), "queue to a thread");
	CHECK(!syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1), "tgkill");
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	check_blocked(SIGUSR1, RT + 1);
	check_stack(stack2, STACK);
	info = next(RT + 1);
	CHECK(info.si_value.sival_int == 77 && info.si_code == SI_QUEUE && info.si_pid == getpid(),
	      "first to a thread");
	info = next(RT + 1);
	CHECK(info.si_value.sival_int == 78, "second to a thread");
	none_left(RT + 1);
	info = next(SIGUSR1);
	CHECK(info.si_pid == getpid(), "tgkill of %d", info.si_pid);
	none_left(SIGUSR1);
	/* kernels differ in what they say of a tgkill() */
	code = info.si_code;
	CHECK(!syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1) && next(SIGUSR1).si_code == code, "tgkill: code %d",
	      code);
	return NULL;
}

int main(void)
{
	pthread_t th;
	siginfo_t info;

	pthread_barrier_init(&before, NULL, 2);
	pthread_barrier_init(&after, NULL, 2);
	set_action(SIGUSR2, handler, SA_RESTART | SA_ONSTACK, SIGHUP);
	set_action(SIGHUP, SIG_IGN, 0, 0);
	set_action(SIGALRM, handler, SA_NODEFER | SA_RESETHAND, 64);
	set_action(64, (void *)info_handler, SA_SIGINFO, SIGINT);
	set_action(SIGINT, SIG_DFL, 0, 0);
	set_action(SIGCHLD, SIG_DFL, SA_NOCLDWAIT | SA_NOCLDSTOP, 0);
	block(SIGUSR2);
	block(RT);
	CHECK(!pthread_create(&th, NULL, second, NULL), "create a thread");
	set_stack(stack1, STACK / 2);
	pthread_barrier_wait(&before);
	for (int i = 0; i < QUEUED; i++)
		CHECK(!sigqueue(getpid(), RT, (union sigval){ .sival_int = 100 + i }), "queue %d", i);
	CHECK(!kill(getpid(), SIGUSR2), "kill");

	subject_ready();

	pthread_barrier_wait(&after);
	check_blocked(0, 0);
	check_stack(stack1, STACK / 2);
	check_action(SIGUSR2, handler, SA_RESTART | SA_ONSTACK, SIGHUP);
	check_action(SIGHUP, SIG_IGN, 0, 0);
	check_action(SIGALRM, handler, SA_NODEFER | (int)SA_RESETHAND, 64);
	check_action(64, (void *)info_handler, SA_SIGINFO, SIGINT);
	check_action(SIGCHLD, SIG_DFL, SA_NOCLDWAIT | SA_NOCLDSTOP, 0);
	check_action(SIGINT, SIG_DFL, 0, 0);
	for (int i = 0; i < QUEUED; i++) {
		info = next(RT);
		CHECK(info.si_value.sival_int == 100 + i && info.si_code == SI_QUEUE, "queued signal %d", i);
	}
	none_left(RT);
	info = next(SIGUSR2);
	CHECK(info.si_code == SI_USER && info.si_pid == getpid() && info.si_uid == getuid(), "who sent SIGUSR2");
	none_left(SIGUSR2);
	CHECK(!pthread_join(th, NULL), "join");
	return 0;
}
