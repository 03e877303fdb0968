/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for each other: barriers between tasks, the commit, the parking place of a dump.
 *
 * Who dies of what: a task that fails writes on the board and exits; whoever
 * waits sees `failed` and exits too. A task whose parent is gone exits: when
 * the engine is killed the root notices, then its children, down the tree, so
 * nothing is left of a restore without an engine. After `commit` nobody looks
 * any more: that one store is the moment at which the restore has happened.
 */
#include <linux/futex.h>
#include <linux/time_types.h>

#include "pie/blob.h"

enum { CHECK_NS = 20 * 1000 * 1000 };

void futex_wait(uint32_t *word, uint32_t value, long timeout_ns)
{
	struct __kernel_timespec t = { .tv_nsec = timeout_ns };

	sys4(__NR_futex, word, FUTEX_WAIT, value, timeout_ns ? &t : 0);
}

void futex_wake_all(uint32_t *word)
{
	sys3(__NR_futex, word, FUTEX_WAKE, 0x7fffffff);
}

void pie_ring(struct pie_board *b)
{
	__atomic_add_fetch(&b->bell, 1, __ATOMIC_RELEASE);
	futex_wake_all(&b->bell);
}

/*
 * An ID that no process and no group has may still be taken: the kernel gets a thread's back when that has a CPU for
 * its last steps, which takes long for the least important one on a busy machine. Its process is long gone by then.
 */
int pie_try_again(long r, int32_t id, int *tries)
{
	struct __kernel_timespec t = { .tv_nsec = 500 * 1000 };
	int held;

	if (r != -17 /* EEXIST */)
		return 0;
	held = sys2(__NR_kill, id, 0) != -3 /* ESRCH */ || sys2(__NR_kill, -id, 0) != -3;
	if (++*tries > (held ? 200 : 20000))
		return 0;
	sys5(__NR_ppoll, 0, 0, &t, 0, 8);
	return 1;
}

static _Noreturn void leave(void)
{
	for (;;)
		sys1(__NR_exit_group, 1);
}

void pie_fail(struct pie_ctx *c, const struct prog_rec *rec, int err, uint64_t detail0, uint64_t detail1)
{
	struct pie_board *b = c->board;

	if (!__atomic_exchange_n(&b->failed, 1, __ATOMIC_ACQ_REL)) {
		b->fail_err = err;
		b->fail_task = c->task;
		b->fail_rec_va = (uint64_t)rec;
		b->fail_detail[0] = detail0;
		b->fail_detail[1] = detail1;
		__atomic_store_n(&b->fail_ready, 1, __ATOMIC_RELEASE);
	}
	pie_ring(b);
	leave();
}

static int is_alone(const struct pie_ctx *c)
{
	return __atomic_load_n(&c->board->failed, __ATOMIC_ACQUIRE) || (int32_t)sys0(__NR_getppid) != c->parent ||
	       (c->board->engine_pid && sys2(__NR_kill, c->board->engine_pid, 0) == -3 /* ESRCH */);
}

void pie_leave_if_alone(struct pie_ctx *c)
{
	if (is_alone(c))
		leave();
}

static int is_committed(const struct pie_board *b)
{
	return __atomic_load_n(&b->commit, __ATOMIC_ACQUIRE) != 0;
}

void op_barrier(struct pie_ctx *c, uint32_t k)
{
	struct pie_barrier *w = &c->board->barrier[k];

	if (__atomic_add_fetch(&w->arrived, 1, __ATOMIC_ACQ_REL) == w->expected) {
		__atomic_store_n(&w->open, 1, __ATOMIC_RELEASE);
		futex_wake_all(&w->open);
		pie_ring(c->board);
	}
	while (!__atomic_load_n(&w->open, __ATOMIC_ACQUIRE)) {
		futex_wait(&w->open, 0, CHECK_NS);
		if (!__atomic_load_n(&w->open, __ATOMIC_ACQUIRE))
			pie_leave_if_alone(c);
	}
}

/* Whether this was the last. A thousand threads would wake the engine a thousand times, for a look at a counter. */
static int arrive(struct pie_board *b)
{
	return __atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) == b->expected;
}

/*
 * The threads of a task wait without looking around (parent 0): they end with their leader. The task counts last: once
 * all of it stands, the engine may take the thread that works for the GPU away, wherever it is.
 */
void op_commit(struct pie_ctx *c)
{
	struct pie_board *b = c->board;
	struct pie_task *self = &b->task[c->task];
	int last = arrive(b);

	if (__atomic_add_fetch(&self->arrived, 1, __ATOMIC_ACQ_REL) == self->expected || last)
		pie_ring(b);
	while (!is_committed(b)) {
		futex_wait(&b->commit, 0, c->parent ? CHECK_NS : 0);
		/* asked again at last: whoever is gone by now has committed before, or never will */
		if (c->parent && !is_committed(b) && is_alone(c) && !is_committed(b))
			leave();
	}
}

/*
 * A thread of a dump's target has answered all questions. The tracer will stop it
 * and put its registers back; if the tracer is gone (killed), the thread goes
 * back to its work by itself, from the frame the tracer left for this case.
 *
 * It sleeps in ppoll, of all calls: an interrupted futex or nanosleep with a
 * timeout would overwrite the restart block, which the thread's own interrupted
 * call may still need.
 */
void op_park(struct pie_ctx *c)
{
	struct __kernel_timespec t;
	struct pie_board *b = c->board;

	if (arrive(b))
		pie_ring(b);
	do {
		t = (struct __kernel_timespec){ .tv_nsec = CHECK_NS };
		sys5(__NR_ppoll, 0, 0, &t, 0, 8);
	} while (sys2(__NR_kill, b->engine_pid, 0) != -3 /* ESRCH */);
	__atomic_add_fetch(&pie_entry.gone, 1, __ATOMIC_ACQ_REL);
}
