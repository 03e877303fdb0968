/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps that must not stop half-way (unbroken.h): a deleted file borrows its old
 * name for a moment, and whoever kills thaw in that moment must not find the name.
 *
 * The steps run in a process of their own that shares memory and descriptors
 * (as vfork does, but for the descriptors), so all they do is done in the caller too;
 * a signal for the caller does not reach it. It is gone before anything else is
 * created, so that its PID is nobody's problem.
 */
#include "kind/unbroken.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { STACK_LEN = 1 << 20 };

struct job {
	int (*fn)(void *arg);
	void *arg;
	int ret;
};

static int job_run(void *p)
{
	struct job *j = p;

	j->ret = j->fn(j->arg);
	return 0;
}

int unbroken(int (*fn)(void *arg), void *arg)
{
	struct job j = { .fn = fn, .arg = arg, .ret = -EINTR };
	char *stack = mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int pid, status = 0, r;

	if (stack == MAP_FAILED)
		return err_set(errno, "map a stack");
	pid = clone(job_run, stack + STACK_LEN, CLONE_VM | CLONE_FILES | CLONE_VFORK, &j);
	r = pid < 0 ? err_set(errno, "clone()") : 0;
	while (!r && waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	munmap(stack, STACK_LEN);
	if (r < 0)
		return r;
	return WIFSIGNALED(status) ? err_say(EINTR, "killed while a deleted file was opened") : j.ret;
}
