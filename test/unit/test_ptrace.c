/* SPDX-License-Identifier: Apache-2.0 */
/* One tracee (kern/ptrace.h), on children of our own; no root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "base/trace.h"
#include "child.h"
#include "kern/ptrace.h"

#define SIGBIT(s) (UINT64_C(1) << ((s) - 1))
enum { SECOND = 1000000000 };

static uint64_t soon(void)
{
	return trace_now_ns() + UINT64_C(20) * SECOND;
}

static void queue_signals(void *arg, int ready)
{
	sigset_t set;

	(void)arg;
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	for (int i = 0; i < 5; i++) {
		siginfo_t info = { .si_code = SI_QUEUE, .si_value.sival_int = 100 + i };

		sigqueue(getpid(), SIGRTMIN + 1, info.si_value);
		syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), SIGRTMIN + 2, &info);
	}
	child_ready(ready);
}

static pid_t stopped(child_fn *fn, void *arg)
{
	pid_t pid = child_start(fn, arg);
	struct ptrace_stop stop;

	assert_int_equal(ptrace_seize(pid, PTRACE_O_TRACESYSGOOD), 0);
	assert_int_equal(ptrace_interrupt(pid), 0);
	assert_int_equal(ptrace_wait_stop(pid, soon(), &stop), 0);
	assert_int_equal(stop.kind, PTRACE_STOP_EVENT);
	assert_int_equal(stop.sig, SIGTRAP);
	return pid;
}

static void pending_signals_are_seen(void **state)
{
	pid_t pid = stopped(queue_signals, NULL);
	siginfo_t info[8];
	uint64_t mask;

	(void)state;
	assert_int_equal(ptrace_get_sigmask(pid, &mask), 0);
	assert_true(mask & SIGBIT(SIGRTMIN + 1));
	assert_int_equal(ptrace_set_sigmask(pid, mask & ~SIGBIT(SIGUSR1)), 0);
	assert_int_equal(ptrace_get_sigmask(pid, &mask), 0);
	assert_false(mask & SIGBIT(SIGUSR1));
	for (int shared = 0; shared < 2; shared++) {
		int n = ptrace_peek_siginfo(pid, shared, 0, info, 3);

		assert_int_equal(n, 3);
		n += ptrace_peek_siginfo(pid, shared, 3, info + 3, 5);
		assert_int_equal(n, 5);
		assert_int_equal(ptrace_peek_siginfo(pid, shared, 5, info + 5, 3), 0);
		for (int i = 0; i < 5; i++) {
			assert_int_equal(info[i].si_signo, shared ? SIGRTMIN + 1 : SIGRTMIN + 2);
			assert_int_equal(info[i].si_value.sival_int, 100 + i);
		}
	}
	assert_int_equal(ptrace_detach(pid, 0), 0);
	child_end(pid);
}

static void ready_to_pause(void *arg, int ready)
{
	(void)arg;
	child_ready(ready);
}

static void registers_round_trip(void **state)
{
	pid_t pid = stopped(ready_to_pause, NULL);
	static unsigned char xsave[PTRACE_XSAVE_MAX];
	struct user_regs_struct regs, again;
	struct ptrace_rseq rseq;
	size_t len;

	(void)state;
	assert_int_equal(ptrace_get_regs(pid, &regs), 0);
	assert_true(regs.rip && regs.rsp && regs.fs_base);
	again = regs;
	again.r15 ^= 0x55;
	assert_int_equal(ptrace_set_regs(pid, &again), 0);
	assert_int_equal(ptrace_get_regs(pid, &again), 0);
	assert_int_equal(again.r15, regs.r15 ^ 0x55);
	assert_int_equal(ptrace_set_regs(pid, &regs), 0);
	assert_int_equal(ptrace_get_xsave(pid, xsave, sizeof(xsave), &len), 0);
	assert_true(len >= 576 && len < sizeof(xsave));
	assert_int_equal(ptrace_get_xsave(pid, xsave, 512, &len), -ENOSPC);
	assert_int_equal(ptrace_get_rseq(pid, &rseq), 0);
	assert_true(!rseq.abi_va || rseq.signature == 0x53053053);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	assert_int_equal(ptrace_detach(pid, 0), 1);
	assert_int_equal(ptrace_get_regs(pid, &regs), -ESRCH);
	child_end(pid);
}

static atomic_int *handled;

static void on_usr1(int sig)
{
	(void)sig;
	atomic_fetch_add(handled, 1);
}

static void takes_usr1(void *arg, int ready)
{
	(void)arg;
	signal(SIGUSR1, on_usr1);
	child_ready(ready);
}

/* A signal that is already on its way when the interrupt comes is delivered, and the thread still stops. */
static void a_signal_does_not_swallow_the_interrupt(void **state)
{
	struct ptrace_stop stop;
	pid_t pid;

	(void)state;
	handled = mmap(NULL, sizeof(*handled), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = child_start(takes_usr1, NULL);
	assert_int_equal(ptrace_seize(pid, 0), 0);
	kill(pid, SIGUSR1);
	assert_int_equal(ptrace_wait(pid, soon(), &stop), 0);
	assert_int_equal(stop.kind, PTRACE_STOP_SIGNAL);
	assert_int_equal(stop.sig, SIGUSR1);
	assert_int_equal(ptrace_interrupt(pid), 0);
	assert_int_equal(ptrace_cont(pid, SIGUSR1), 0);
	assert_int_equal(ptrace_wait_stop(pid, soon(), &stop), 0);
	assert_int_equal(stop.kind, PTRACE_STOP_EVENT);
	for (int i = 2; i < 200; i++) {
		assert_int_equal(ptrace_cont(pid, 0), 0);
		kill(pid, SIGUSR1);
		assert_int_equal(ptrace_interrupt(pid), 0);
		assert_int_equal(ptrace_wait_stop(pid, soon(), &stop), 0);
		assert_int_equal(stop.kind, PTRACE_STOP_EVENT);
	}
	assert_int_equal(ptrace_detach(pid, 0), 0);
	while (atomic_load(handled) < 2)
		usleep(1000);
	child_end(pid);
}

static void waiting_ends_at_the_deadline(void **state)
{
	pid_t pid = child_start(ready_to_pause, NULL);
	uint64_t start = trace_now_ns();
	struct ptrace_stop stop;
	int status;

	(void)state;
	assert_int_equal(ptrace_seize(pid, 0), 0);
	assert_int_equal(ptrace_wait_stop(pid, start + 30000000, &stop), -ETIMEDOUT);
	assert_true(trace_now_ns() - start >= 30000000);
	assert_int_equal(ptrace_poll(pid, &stop), 0);
	assert_int_equal(stop.kind, PTRACE_STOP_NONE);
	kill(pid, SIGKILL);
	assert_int_equal(ptrace_wait_stop(pid, soon(), &stop), 0);
	assert_int_equal(stop.kind, PTRACE_STOP_DIED);
	assert_true(WIFSIGNALED(stop.status));
	assert_int_equal(waitpid(pid, &status, 0), -1);
	assert_int_equal(ptrace_wait_stop(pid, soon(), &stop), 0);
	assert_int_equal(stop.kind, PTRACE_STOP_DIED);
	assert_int_equal(ptrace_interrupt(pid), -ESRCH);
	assert_int_equal(ptrace_seize(pid, 0), -ESRCH);
}

static void spins(void *arg, int ready)
{
	(void)arg;
	child_ready(ready);
	for (;;)
		getppid();
}

static void system_calls_are_stops(void **state)
{
	pid_t pid = stopped(spins, NULL);
	struct ptrace_stop stop;

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ptrace_syscall(pid, 0), 0);
		assert_int_equal(ptrace_wait(pid, soon(), &stop), 0);
		if (stop.kind == PTRACE_STOP_EVENT)
			continue; /* a late second interrupt */
		assert_int_equal(stop.kind, PTRACE_STOP_SYSCALL);
	}
	child_end(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pending_signals_are_seen),
		cmocka_unit_test(registers_round_trip),
		cmocka_unit_test(a_signal_does_not_swallow_the_interrupt),
		cmocka_unit_test(waiting_ends_at_the_deadline),
		cmocka_unit_test(system_calls_are_stops),
	};

	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
