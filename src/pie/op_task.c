/* SPDX-License-Identifier: Apache-2.0 */
/* Making tasks and threads with the IDs the image says, and waiting for children. */
#include <linux/sched.h>
#include <linux/wait.h>

#include "pie/blob.h"

long op_fork(struct pie_ctx *c, const struct pie_fork *f, struct prog_rec **ret_start)
{
	int32_t pid = f->pid, self = (int32_t)sys0(__NR_getpid);
	int tries = 0;
	struct clone_args args = {
		.flags = f->flags,
		.exit_signal = f->flags & CLONE_PARENT ? 0 : (uint32_t)f->exit_signal,
		.set_tid = (uint64_t)&pid,
		.set_tid_size = 1,
	};
	long r;

	do
		r = sys2(__NR_clone3, &args, sizeof(args));
	while (pie_try_again(r, pid, &tries));
	if (r < 0)
		return r;
	/* by whoever comes first: either may be killed here, and the engine has to know of the child */
	__atomic_store_n(&c->board->task[f->task].born, 1, __ATOMIC_RELEASE);
	if (r)
		return r;
	c->task = f->task;
	if (!(f->flags & CLONE_PARENT))
		c->parent = self;
	*ret_start = (struct prog_rec *)f->start_va;
	return 0;
}

long op_reap(struct pie_ctx *c, int32_t pid)
{
	long r;

	(void)c;
	do
		r = sys4(__NR_wait4, pid, 0, __WALL, 0);
	while (r == -4); /* EINTR */
	return r;
}

long op_zombie(struct pie_ctx *c, int32_t pid)
{
	long r;

	(void)c;
	do
		r = sys5(__NR_waitid, P_PID, pid, 0, WEXITED | WNOWAIT | __WALL, 0);
	while (r == -4);
	return r;
}

/* What a new thread is handed, on the top of its own stack. */
struct thread_start {
	struct pie_ctx c;
	struct prog_rec *start;
};

static void thread_main(void *arg)
{
	struct thread_start *s = arg;

	pie_run(&s->c, s->start);
}

long op_threads(struct pie_ctx *c, const struct pie_thread *t, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		struct thread_start *s = (struct thread_start *)(t[i].stack_va - sizeof(*s));
		uint64_t low = t[i].stack_va - PIE_STACK, top = ((uint64_t)s & ~15ul);
		int32_t tid = t[i].tid;
		struct clone_args args = {
			.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
			.stack = low,
			.stack_size = top - low,
			.set_tid = (uint64_t)&tid,
			.set_tid_size = 1,
		};
		int tries = 0;
		long r;

		*s = (struct thread_start){ { c->board, c->task, 0 }, (struct prog_rec *)t[i].start_va };
		do
			r = pie_clone(&args, sizeof(args), top, thread_main, s);
		while (pie_try_again(r, tid, &tries));
		if (r < 0)
			return r;
	}
	return 0;
}
