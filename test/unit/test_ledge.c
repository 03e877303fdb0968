/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A way home (arch/x86_64/ledge.h): the tracer lets go of a thread that has just been sent away, as if it were
 * killed.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <cmocka.h>

#include "arch/x86_64/ledge.h"
#include "arch/x86_64/vdso.h"
#include "base/cleanup.h"
#include "base/trace.h"
#include "child.h"
#include "kern/ptrace.h"

struct shared {
	volatile uint64_t rounds;
	volatile int wrong, handling, may_end;
	int pipe[2];
};

static uint64_t soon(void)
{
	return trace_now_ns() + UINT64_C(20000000000);
}

/* Turns around with values in all registers that a system call has to do with. */
static void spins(void *arg, int ready)
{
	struct shared *s = arg;

	child_ready(ready);
	for (;; s->rounds++) {
		register uint64_t r10 __asm__("r10") = 4, r8 __asm__("r8") = 5, r9 __asm__("r9") = 6,
				      r11 __asm__("r11") = 8;
		uint64_t di = 1, si = 2, dx = 3, cx = 7, ax = 9, n = 100000;

		__asm__ volatile("1: dec %[n]\n\tjnz 1b"
				 : [n] "+r"(n), "+D"(di), "+S"(si), "+d"(dx), "+c"(cx), "+a"(ax), "+r"(r10), "+r"(r8),
				   "+r"(r9), "+r"(r11));
		s->wrong |= di != 1 || si != 2 || dx != 3 || r10 != 4 || r8 != 5 || r9 != 6 || cx != 7 || r11 != 8 ||
			    ax != 9 || n;
	}
}

static void reads(void *arg, int ready)
{
	struct shared *s = arg;
	char c;

	child_ready(ready);
	for (;; s->rounds++)
		s->wrong |= read(s->pipe[0], &c, 1) != 1 || c != 'x';
}

static struct shared *shared_new(void)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(s != MAP_FAILED);
	assert_int_equal(pipe(s->pipe), 0);
	return s;
}

static int proc_dir(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void stop(pid_t pid)
{
	struct ptrace_stop st;

	assert_int_equal(ptrace_seize(pid, PTRACE_O_TRACESYSGOOD), 0);
	assert_int_equal(ptrace_interrupt(pid), 0);
	assert_int_equal(ptrace_wait_stop(pid, soon(), &st), 0);
}

/* Sends it away and is gone. */
static void send_and_vanish(pid_t pid, int proc)
{
	struct user_regs_struct regs, away;
	size_t vdso_len;
	uint64_t vdso_va = (uint64_t)vdso_own(&vdso_len);
	struct ledge_way way = { .home = &regs };
	struct ledge l;

	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &regs), 0);
	assert_int_equal(ptrace_get_sigmask(pid, &way.mask), 0);
	assert_int_equal(ledge_put(proc, vdso_va, vdso_len, &way, &l), 0);
	away = regs;
	away.rip = l.call_va;
	away.orig_rax = UINT64_MAX;
	away.rax = SYS_getpid;
	away.rdi = away.rsi = away.rdx = away.r8 = away.r9 = away.r10 = 0xdead;
	assert_int_equal(ptrace_set_regs(pid, &away), 0);
	assert_int_equal(ptrace_set_sigmask(pid, ~UINT64_C(0)), 0);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	assert_true(l.mem_fd >= 0);
	close(l.mem_fd);
}

static void until_more(const struct shared *s)
{
	uint64_t from = s->rounds, end = soon();

	while (s->rounds < from + 2 && trace_now_ns() < end)
		usleep(100);
	assert_true(s->rounds >= from + 2);
	assert_false(s->wrong);
}

static void a_running_thread_goes_home(void **state)
{
	struct shared *s = shared_new();
	pid_t pid = child_start(spins, s);
	auto_close int proc = proc_dir(pid);

	(void)state;
	for (int i = 0; i < 8; i++) { /* what stays each time must not be in the way */
		uint64_t mask;

		send_and_vanish(pid, proc);
		until_more(s);
		stop(pid);
		assert_int_equal(ptrace_get_sigmask(pid, &mask), 0);
		assert_int_equal(mask, 0);
		assert_int_equal(ptrace_detach(pid, 0), 0);
	}
	child_end(pid);
}

static void an_interrupted_call_starts_again(void **state)
{
	struct shared *s = shared_new();
	pid_t pid = child_start(reads, s);
	auto_close int proc = proc_dir(pid);

	(void)state;
	for (uint64_t i = 0; i < 5; i++) {
		uint64_t end = soon();

		usleep(2000);
		send_and_vanish(pid, proc);
		usleep(2000);
		assert_int_equal(s->rounds, i);
		assert_int_equal(write(s->pipe[1], "x", 1), 1);
		while (s->rounds == i && trace_now_ns() < end)
			usleep(100);
		assert_int_equal(s->rounds, i + 1);
		assert_false(s->wrong);
	}
	child_end(pid);
}

/* As thaw uses it: the tracer stops the thread behind the call, puts all back and leaves no trace. */
static void a_tracer_that_lives_leaves_no_trace(void **state)
{
	static const uint64_t args[6] = { 0 };
	struct shared *s = shared_new();
	pid_t pid = child_start(spins, s);
	auto_close int proc = proc_dir(pid);
	struct user_regs_struct regs, after;
	size_t vdso_len;
	const void *vdso = vdso_own(&vdso_len);
	auto_free uint8_t *now = malloc(vdso_len);
	struct ledge_way way = { .home = &regs };
	struct ledge l;

	(void)state;
	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &regs), 0);
	assert_int_equal(ptrace_get_sigmask(pid, &way.mask), 0);
	assert_int_equal(ledge_put(proc, (uint64_t)vdso, vdso_len, &way, &l), 0);
	assert_int_equal(ptrace_call(pid, &regs, l.call_va, SYS_getpid, args, soon(), &after), 0);
	assert_int_equal(after.rax, pid);
	assert_int_equal(after.rip, l.call_va + 2);
	assert_int_equal(ptrace_set_sigmask(pid, way.mask), 0);
	assert_int_equal(ptrace_set_regs(pid, &regs), 0);
	ledge_take(&l);
	assert_int_equal(process_vm_readv(pid, &(struct iovec){ now, vdso_len }, 1,
					  &(struct iovec){ (void *)(uintptr_t)vdso, vdso_len }, 1, 0), vdso_len);
	assert_memory_equal(now, vdso, vdso_len);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	until_more(s);
	child_end(pid);
}

/* Still there: whoever comes next sees that nobody is on it, or where the thread on it is going, and takes it away. */
static void what_was_left_is_found(void **state)
{
	struct shared *s = shared_new();
	pid_t pid = child_start(spins, s);
	auto_close int proc = proc_dir(pid);
	struct user_regs_struct regs, on = { 0 };
	size_t vdso_len;
	uint64_t vdso_va = (uint64_t)vdso_own(&vdso_len);
	struct ledge_way way = { .home = &regs, .undo = LEDGE_UNMAP, .len = 4096 };
	struct ledge_owner o = { 0 };
	struct ledge l;
	int stay;

	(void)state;
	for (int i = 0; i < 3; i++)
		send_and_vanish(pid, proc);
	until_more(s);
	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &regs), 0);
	o.stack_va = regs.rsp;
	o.stack_end_va = regs.rsp + 1; /* empty */
	assert_int_equal(ledge_left(proc, vdso_va, vdso_len, &regs), 0);
	assert_int_equal(ledge_sweep(proc, vdso_va, vdso_len, &o, &stay), 3);
	assert_int_equal(stay, 0);
	assert_int_equal(ledge_sweep(proc, vdso_va, vdso_len, &o, &stay), 0);
	assert_int_equal(stay, 0);
	assert_int_equal(ledge_put(proc, vdso_va, vdso_len, &way, &l), 0);
	on.rip = l.call_va;
	assert_int_equal(ledge_left(proc, vdso_va, vdso_len, &on), 1);
	on.rip = l.call_va + LEDGE_LEN - 32; /* the jump */
	assert_int_equal(ledge_left(proc, vdso_va, vdso_len, &on), 2);
	assert_int_equal(on.rip, regs.rip);
	assert_int_equal(on.rdi, regs.rdi);
	assert_int_equal(on.rax, regs.rax);
	assert_int_equal(on.r11, regs.r11);
	ledge_take(&l);
	assert_int_equal(ledge_sweep(proc, vdso_va, vdso_len, &o, &stay), 0);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	until_more(s);
	child_end(pid);
}

static struct shared *handled;

static void handle(int sig)
{
	(void)sig;
	handled->handling = true;
	while (!handled->may_end)
		usleep(100);
	handled->handling = false;
}

static void spins_and_handles(void *arg, int ready)
{
	struct sigaction act = { .sa_handler = handle, .sa_flags = SA_NODEFER };

	handled = arg;
	sigaction(SIGUSR1, &act, NULL);
	spins(arg, ready);
}

static void until(volatile const int *flag, int value)
{
	uint64_t end = soon();

	while (*flag != value && trace_now_ns() < end)
		usleep(100);
	assert_int_equal(*flag, value);
}

/* The tracer was killed between its last two steps: the mask is home, the registers are not. A signal comes. */
static void what_a_handler_returns_to_stays(void **state)
{
	struct shared *s = shared_new();
	pid_t pid = child_start(spins_and_handles, s);
	auto_close int proc = proc_dir(pid);
	struct user_regs_struct regs, away;
	size_t vdso_len;
	uint64_t vdso_va = (uint64_t)vdso_own(&vdso_len);
	struct ledge_way way = { .home = &regs };
	struct ledge_owner o = { 0 };
	struct ledge l;
	int stay;

	(void)state;
	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &regs), 0);
	assert_int_equal(ledge_put(proc, vdso_va, vdso_len, &way, &l), 0);
	away = regs;
	away.rip = l.call_va + 2; /* behind the call */
	away.orig_rax = UINT64_MAX;
	assert_int_equal(ptrace_set_regs(pid, &away), 0);
	assert_int_equal(kill(pid, SIGUSR1), 0);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	close(l.mem_fd);
	until(&s->handling, true);
	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &away), 0);
	o.stack_va = away.rsp;
	o.stack_end_va = regs.rsp; /* where it was interrupted */
	assert_int_equal(ledge_left(proc, vdso_va, vdso_len, &away), 0);
	assert_int_equal(ledge_sweep(proc, vdso_va, vdso_len, &o, &stay), 0);
	assert_int_equal(stay, 1);
	o = (struct ledge_owner){ .mask = 1 }; /* seen by what it blocks */
	assert_int_equal(ledge_sweep(proc, vdso_va, vdso_len, &o, &stay), 0);
	assert_int_equal(stay, 1);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	s->may_end = true;
	until(&s->handling, false);
	until_more(s);
	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &away), 0);
	o = (struct ledge_owner){ 0, away.rsp, regs.rsp };
	assert_int_equal(ledge_sweep(proc, vdso_va, vdso_len, &o, &stay), 1);
	assert_int_equal(stay, 0);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	until_more(s);
	child_end(pid);
}

/* The call that maps is undone on the way home: as many pages are mapped as before. */
static void a_mapping_goes_with_its_tracer(void **state)
{
	struct shared *s = shared_new();
	pid_t pid = child_start(spins, s);
	auto_close int proc = proc_dir(pid);
	struct user_regs_struct regs, after;
	size_t vdso_len;
	uint64_t vdso_va = (uint64_t)vdso_own(&vdso_len), len = 64 << 20;
	const uint64_t args[6] = { 0, len, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, (uint64_t)-1, 0 };
	struct ledge_way way = { .home = &regs, .undo = LEDGE_UNMAP, .len = len };
	struct ledge l;
	uint8_t byte;

	(void)state;
	stop(pid);
	assert_int_equal(ptrace_get_regs(pid, &regs), 0);
	assert_int_equal(ptrace_get_sigmask(pid, &way.mask), 0);
	assert_int_equal(ledge_put(proc, vdso_va, vdso_len, &way, &l), 0);
	assert_int_equal(ptrace_call(pid, &regs, l.call_va, SYS_mmap, args, soon(), &after), 0);
	assert_true(after.rax < (uint64_t)-4095);
	assert_int_equal(process_vm_readv(pid, &(struct iovec){ &byte, 1 }, 1,
					  &(struct iovec){ (void *)(uintptr_t)after.rax, 1 }, 1, 0), 1);
	assert_int_equal(ptrace_detach(pid, 0), 0);
	until_more(s);
	assert_int_equal(process_vm_readv(pid, &(struct iovec){ &byte, 1 }, 1,
					  &(struct iovec){ (void *)(uintptr_t)after.rax, 1 }, 1, 0), -1);
	close(l.mem_fd);
	child_end(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_running_thread_goes_home),
		cmocka_unit_test(an_interrupted_call_starts_again),
		cmocka_unit_test(a_tracer_that_lives_leaves_no_trace),
		cmocka_unit_test(what_was_left_is_found),
		cmocka_unit_test(what_a_handler_returns_to_stays),
		cmocka_unit_test(a_mapping_goes_with_its_tracer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
