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
	const struct prog_rec *rec; /* OP_THREADS */
	const struct pie_thread *rest; /* whom it makes itself before it begins */
	uint64_t nrest;
};

/* With more to come than so many, a new thread makes half of them. */
enum { ALONE = 64, LOOK_NS = 20 * 1000 * 1000 };

static void make_threads(struct pie_ctx *c, const struct prog_rec *rec, const struct pie_thread *t, uint64_t n);

static void thread_main(void *arg)
{
	struct thread_start *s = arg;

	make_threads(&s->c, s->rec, s->rest, s->nrest);
	pie_run(&s->c, s->start);
}

static long make_thread(struct pie_ctx *c, const struct prog_rec *rec, const struct pie_thread *t, uint64_t nrest)
{
	struct thread_start *s = (struct thread_start *)(t->stack_va - sizeof(*s));
	uint64_t low = t->stack_va - PIE_STACK, top = ((uint64_t)s & ~15ul);
	int32_t tid = t->tid;
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
		.stack = low,
		.stack_size = top - low,
		.set_tid = (uint64_t)&tid,
		.set_tid_size = 1,
	};
	int tries = 0;
	long r;

	*s = (struct thread_start){ { c->board, c->task, 0 }, (struct prog_rec *)t->start_va, rec, t + 1, nrest };
	do
		r = pie_clone(&args, sizeof(args), top, thread_main, s);
	while (pie_try_again(r, tid, &tries));
	return r;
}

static void make_threads(struct pie_ctx *c, const struct prog_rec *rec, const struct pie_thread *t, uint64_t n)
{
	struct pie_threads *all = (struct pie_threads *)rec->arg[0];

	for (uint64_t i = 0, rest; i < n; i += 1 + rest) {
		long r;

		rest = n - i > ALONE ? (n - i) / 2 : 0;
		r = make_thread(c, rec, t + i, rest);
		if (r < 0)
			pie_fail(c, rec, (int)-r, (uint64_t)t[i].tid, 0);
		if (__atomic_add_fetch(&all->made, 1, __ATOMIC_ACQ_REL) == all->n)
			futex_wake_all(&all->made);
	}
}

/*
 * Threads make threads: of a thousand with 16 CPUs one alone needs 17 ms, eight 4. A thread makes others before it does
 * anything else, so all of them start with what the leader has.
 */
void op_threads(struct pie_ctx *c, const struct prog_rec *rec)
{
	struct pie_threads *all = (struct pie_threads *)rec->arg[0];
	uint32_t made;

	make_threads(c, rec, all->thread, all->n);
	while ((made = __atomic_load_n(&all->made, __ATOMIC_ACQUIRE)) < all->n) {
		futex_wait(&all->made, made, LOOK_NS);
		if (__atomic_load_n(&all->made, __ATOMIC_ACQUIRE) == made)
			pie_leave_if_alone(c);
	}
}
