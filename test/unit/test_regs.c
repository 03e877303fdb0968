/* SPDX-License-Identifier: Apache-2.0 */
/* arch/x86_64/regs.h: interrupted calls, restartable sequences, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "child.h"

enum { SYS_ERR = 512, NOINTR = 513, NOHAND = 514, BLOCK = 516, IP = 0x1002 };

static int setup(void **state)
{
	*state = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static const struct {
	long orig_ax, ax;
	uint64_t di, si, dx, r10;
	bool again; /* the call starts again */
	long ret;   /* or returns this */
} cases[] = {
	{ SYS_read, -SYS_ERR, 0, 0, 0, 0, true, 0 },
	{ SYS_read, -NOINTR, 0, 0, 0, 0, true, 0 },
	{ SYS_pause, -NOHAND, 0, 0, 0, 0, true, 0 },
	{ SYS_poll, -BLOCK, 1, 2, 3, 0, true, 0 },
	{ SYS_futex, -BLOCK, 1, 2, 3, 4, true, 0 },
	{ SYS_nanosleep, -BLOCK, 0x10, 0, 0, 0, true, 0 },
	{ SYS_nanosleep, -BLOCK, 0x10, 0x10, 0, 0, true, 0 },
	{ SYS_nanosleep, -BLOCK, 0x10, 0x20, 0, 0, false, -EINTR },
	{ SYS_clock_nanosleep, -BLOCK, 1, 0, 0x10, 0x10, true, 0 },
	{ SYS_clock_nanosleep, -BLOCK, 1, 0, 0x10, 0x20, false, -EINTR },
	{ SYS_restart_syscall, -BLOCK, 1, 2, 3, 4, false, -EINTR },
	{ SYS_read, -EINTR, 0, 0, 0, 0, false, -EINTR },
	{ SYS_read, 17, 0, 0, 0, 0, false, 17 },
	{ -1, -SYS_ERR, 0, 0, 0, 0, false, -SYS_ERR }, /* not in a call: what the program has in ax is its own */
};

static void interrupted_calls(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct user_regs_struct r = {
			.orig_rax = (uint64_t)cases[i].orig_ax, .rax = (uint64_t)cases[i].ax, .rip = IP,
			.rdi = cases[i].di, .rsi = cases[i].si, .rdx = cases[i].dx, .r10 = cases[i].r10,
		};

		regs_restart(&r);
		print_message("case %zu\n", i);
		assert_int_equal(r.rip, cases[i].again ? IP - 2 : IP);
		assert_int_equal((long)r.rax, cases[i].again ? cases[i].orig_ax : cases[i].ret);
	}
}

/* A tracer's interrupt is no signal: calls that took it for one start again, those whose effect is unknown do not. */
static void calls_that_ended_early(void **state)
{
	static const struct {
		long orig_ax, ax;
		bool again;
	} v[] = {
		{ SYS_epoll_wait, -EINTR, true }, { SYS_rt_sigtimedwait, -EINTR, true }, { SYS_recvfrom, -EINTR, true },
		{ SYS_close, -EINTR, false },	  { SYS_epoll_wait, 0, false },		 { -1, -EINTR, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct user_regs_struct r = { .orig_rax = (uint64_t)v[i].orig_ax, .rax = (uint64_t)v[i].ax, .rip = IP };

		assert_int_equal(regs_begin_again(&r), v[i].again);
		assert_int_equal(r.rip, v[i].again ? IP - 2 : IP);
		assert_int_equal((long)r.rax, v[i].again ? v[i].orig_ax : v[i].ax);
	}
}

static void pauses(void *arg, int ready)
{
	(void)arg;
	child_ready(ready);
	for (;;)
		pause();
}

static void stop(pid_t pid)
{
	struct ptrace_stop s;

	assert_int_equal(ptrace_seize(pid, 0), 0);
	assert_int_equal(ptrace_interrupt(pid), 0);
	assert_int_equal(ptrace_wait_stop(pid, UINT64_MAX, &s), 0);
	assert_int_equal(s.kind, PTRACE_STOP_EVENT);
}

/* Waits until the child sleeps; it says so through a pipe a moment before. */
static void until_asleep(pid_t pid)
{
	char path[64], line[256] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	do {
		auto_file FILE *f = fopen(path, "r");

		assert_non_null(fgets(line, sizeof(line), f));
	} while (!strstr(line, ") S "));
}

static void a_waiting_thread_is_saved(void **state)
{
	pid_t pid = child_start(pauses, NULL);
	CoreEntry core = CORE_ENTRY__INIT;
	struct user_regs_struct regs, after;
	struct ptrace_rseq rseq;
	uint16_t code = 0;

	until_asleep(pid);
	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &regs), 0);
	assert_int_equal(regs_check_live(&regs), 0);
	assert_int_equal(ptrace_get_rseq(pid, &rseq), 0);
	assert_int_equal(regs_leave_rseq(pid, &rseq, &regs), 0);
	regs_dump(*state, 0, &regs, &core);
	assert_int_equal(core.thread_info->gpregs->ip, regs.rip - 2);
	assert_int_equal(core.thread_info->gpregs->ax, regs.orig_rax);
	assert_int_equal(core.thread_info->gpregs->sp, regs.rsp);
	assert_int_equal(core.thread_info->gpregs->fs_base, regs.fs_base);
	errno = 0;
	code = (uint16_t)ptrace(PTRACE_PEEKTEXT, pid, core.thread_info->gpregs->ip, NULL);
	assert_int_equal(errno, 0);
	assert_int_equal(code, 0x050f); /* syscall */
	assert_int_equal(regs_check(&core), 0);
	assert_int_equal(ptrace_get_regs(pid, &after), 0);
	assert_memory_equal(&regs, &after, sizeof(regs));
	child_end(pid);
}

static void sleeps_long(void *arg, int ready)
{
	(void)arg;
	child_ready(ready);
	for (;;)
		usleep(1000000000);
}

/* Stopped and let go, it goes on with restart_syscall(); stopped again, it must still be known as a sleep. */
static void a_call_restarted_twice(void **state)
{
	pid_t pid = child_start(sleeps_long, NULL);
	CoreEntry core = CORE_ENTRY__INIT;
	struct user_regs_struct regs;

	for (int tries = 0; tries < 1000; tries++) {
		until_asleep(pid);
		stop(pid);
		assert_int_equal(ptrace_get_regs(pid, &regs), 0);
		if (regs.orig_rax == SYS_restart_syscall)
			break;
		assert_int_equal(ptrace_detach(pid, 0), 0);
	}
	assert_int_equal(regs.orig_rax, SYS_restart_syscall);
	regs_dump(*state, pid, &regs, &core);
	assert_true(core.thread_info->gpregs->ax == SYS_clock_nanosleep ||
		    core.thread_info->gpregs->ax == SYS_nanosleep);
	assert_int_equal(core.thread_info->gpregs->ip, regs.rip - 2);
	regs_dump(*state, 0, &regs, &core);
	assert_int_equal(core.thread_info->gpregs->ax, (uint64_t)-EINTR);
	child_end(pid);
}

/* A thread that is in a restartable sequence all the time: aborted, it enters it again. */
void sequence_enter(void *rseq_area);
extern char sequence_start[], sequence_end[], sequence_abort[];
__asm__(".pushsection .data.rel.local, \"aw\"\n"
	".balign 32\n"
	"sequence_cs: .long 0, 0\n"
	" .quad sequence_start, sequence_end - sequence_start, sequence_abort\n"
	".popsection\n"
	".text\n"
	".globl sequence_enter, sequence_start, sequence_end, sequence_abort\n"
	"sequence_enter: lea sequence_cs(%rip), %rax\n"
	" mov %rax, 8(%rdi)\n"
	"sequence_start: pause\n"
	" jmp sequence_start\n"
	"sequence_end: ud2\n"
	" .long 0x53053053\n" /* RSEQ_SIG */
	"sequence_abort: jmp sequence_enter\n");

static void is_in_sequence(void *arg, int ready)
{
	(void)arg;
	child_ready(ready);
	sequence_enter((char *)__builtin_thread_pointer() + __rseq_offset);
}

static void sequences_are_left(void **state)
{
	struct user_regs_struct regs;
	struct ptrace_rseq rseq;
	pid_t pid;

	(void)state;
	if (!__rseq_size)
		skip();
	pid = child_start(is_in_sequence, NULL);
	for (int tries = 0;; tries++) {
		assert_true(tries < 10000);
		stop(pid);
		assert_int_equal(ptrace_get_regs(pid, &regs), 0);
		if (regs.rip >= (uint64_t)sequence_start && regs.rip < (uint64_t)sequence_end)
			break;
		assert_int_equal(ptrace_detach(pid, 0), 0);
	}
	assert_int_equal(ptrace_get_rseq(pid, &rseq), 0);
	assert_int_equal(regs_leave_rseq(pid, &rseq, &regs), 1);
	assert_int_equal(regs.rip, (uint64_t)sequence_abort);
	assert_int_equal(regs_leave_rseq(pid, &rseq, &regs), 0);
	child_end(pid);
}

static void foreign_code_is_refused(void **state)
{
	struct user_regs_struct regs = { .cs = 0x33, .ss = 0x2b };
	CoreEntry core = CORE_ENTRY__INIT;
	UserX86RegsEntry *e;

	regs_dump(*state, 0, &regs, &core);
	e = core.thread_info->gpregs;
	assert_int_equal(regs_check(&core), 0);
	e->fs = 0x2b;
	assert_int_equal(regs_check(&core), -ENOTSUP);
	e->fs = 0;
	e->cs = 0x23;
	assert_int_equal(regs_check(&core), -ENOTSUP);
	e->cs = 0x10; /* the kernel's */
	assert_int_equal(regs_check(&core), -EINVAL);
	e->cs = 0x33;
	e->mode = USER_X86_REGS_MODE__COMPAT;
	assert_int_equal(regs_check(&core), -ENOTSUP);
	e->mode = USER_X86_REGS_MODE__NATIVE;
	core.mtype = CORE_ENTRY__MARCH__AARCH64;
	assert_int_equal(regs_check(&core), -ENOTSUP);
	regs.cs = 0x23;
	assert_int_equal(regs_check_live(&regs), -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(interrupted_calls, setup, teardown),
		cmocka_unit_test(calls_that_ended_early),
		cmocka_unit_test_setup_teardown(a_waiting_thread_is_saved, setup, teardown),
		cmocka_unit_test_setup_teardown(a_call_restarted_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(sequences_are_left, setup, teardown),
		cmocka_unit_test_setup_teardown(foreign_code_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
