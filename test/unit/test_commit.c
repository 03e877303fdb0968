/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit of a restore, and an engine that dies right behind it. A task that has just seen that there is no commit
 * yet, and finds the engine gone a moment later, must not take that for the end of the restore: all others live.
 *
 * The task runs the blob's own code and is stopped by ptrace between its two looks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pie/blob.h"

struct pie_head pie_entry; /* as entry.S has it */

enum { CAME_THROUGH = 42, LEFT = 1 };

struct shared {
	_Atomic int go;
	_Atomic pid_t task;
	struct pie_board board; /* with room for its task behind it */
};

static _Noreturn void be_task(struct shared *s)
{
	struct pie_ctx c = { .board = &s->board, .parent = getppid() };

	s->task = getpid();
	while (!s->go)
		sched_yield();
	op_commit(&c);
	_exit(CAME_THROUGH);
}

static pid_t make_engine(struct shared *s)
{
	pid_t engine = fork();

	if (!engine) {
		if (!fork())
			be_task(s);
		for (;;)
			pause();
	}
	while (!s->task)
		sched_yield();
	return engine;
}

/* Stops the task where it is about to ask for its parent. */
static void stop_before_look(struct shared *s)
{
	struct user_regs_struct regs = { 0 };
	int status;

	assert_int_equal(ptrace(PTRACE_SEIZE, s->task, 0, PTRACE_O_TRACESYSGOOD), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, s->task, 0, 0), 0);
	assert_int_equal(waitpid(s->task, &status, __WALL), s->task);
	s->go = 1;
	while (regs.orig_rax != SYS_getppid) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, s->task, 0, 0), 0);
		assert_int_equal(waitpid(s->task, &status, __WALL), s->task);
		assert_true(WIFSTOPPED(status));
		assert_int_equal(ptrace(PTRACE_GETREGS, s->task, 0, &regs), 0);
	}
}

/* How the task ends, if its engine ends now. */
static int end_of_task(int committed)
{
	struct shared *s = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t engine;
	int status;

	assert_ptr_not_equal(s, MAP_FAILED);
	s->board.expected = s->board.task[0].expected = 2;
	engine = make_engine(s);
	s->board.engine_pid = engine;
	stop_before_look(s);
	s->board.commit = (uint32_t)committed;
	kill(engine, SIGKILL);
	assert_int_equal(waitpid(engine, &status, 0), engine);
	assert_int_equal(ptrace(PTRACE_DETACH, s->task, 0, 0), 0);
	assert_int_equal(waitpid(s->task, &status, __WALL), s->task);
	munmap(s, 65536);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_engine_dies_behind_commit(void **state)
{
	(void)state;
	assert_int_equal(end_of_task(1), CAME_THROUGH);
}

static void test_engine_dies_before_commit(void **state)
{
	(void)state;
	assert_int_equal(end_of_task(0), LEFT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_engine_dies_behind_commit),
		cmocka_unit_test(test_engine_dies_before_commit),
	};

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
