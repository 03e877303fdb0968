/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a thread is scheduled: policy, real-time priority, niceness, whether children
 * start over (SCHED_RESET_ON_FORK, kept in the policy word as the kernel does), timer slack.
 *
 * CPU affinity is not in the images: it belongs to the machine.
 *
 * Runs in the engine. Order in the table: before credentials, since raising a
 * priority takes privileges. A thread starts as thaw itself is scheduled.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kind/kind.h"
#include "kind/task_entry.h"

enum { TIMERSLACK_NS = 50000 /* what processes start with */ };

static bool is_realtime(uint32_t policy)
{
	policy &= ~(uint32_t)SCHED_RESET_ON_FORK;
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

static int check_policy(int tid, uint32_t policy)
{
	switch (policy & ~(uint32_t)SCHED_RESET_ON_FORK) {
	case SCHED_OTHER:
	case SCHED_FIFO:
	case SCHED_RR:
	case SCHED_BATCH:
	case SCHED_IDLE:
		return 0;
	default:
		return err_say(ENOTSUP, "thread %d: scheduling policy %u is not supported yet", tid, policy);
	}
}

/* Niceness goes from -20 to 19, so only errno tells an error. */
static int nice_of(int tid, int *ret_nice)
{
	errno = 0;
	*ret_nice = getpriority(PRIO_PROCESS, (id_t)tid);
	return errno ? -errno : 0;
}

static void *sched_ask(struct dumping *d, struct dump_thread *th, struct prog *p)
{
	(void)d, (void)th;
	prog_label(p, "ask for the timer slack");
	return prog_sys(p, SYS_prctl, PR_GET_TIMERSLACK);
}

static int sched_dump_thread(struct dumping *d, struct dump_thread *th, const void *asked)
{
	ThreadCoreEntry *e = task_entry_thread(d->a, th->core);
	const struct prog_rec *slack = asked;
	int policy = sched_getscheduler(th->tid), nice, r;
	struct sched_param param;

	/* real-time threads have none */
	e->has_thaw_timerslack_ns = slack->ret && slack->ret != TIMERSLACK_NS;
	e->thaw_timerslack_ns = e->has_thaw_timerslack_ns ? (uint64_t)slack->ret : 0;
	if (policy < 0)
		return err_set(errno, "thread %d: sched_getscheduler()", th->tid);
	r = check_policy(th->tid, (uint32_t)policy);
	if (r < 0)
		return r;
	r = nice_of(th->tid, &nice);
	if (r < 0)
		return err_set(-r, "thread %d: getpriority()", th->tid);
	e->has_sched_policy = e->has_sched_nice = true;
	e->sched_policy = (uint32_t)policy;
	e->sched_nice = nice;
	if (!is_realtime((uint32_t)policy))
		return 0;
	if (sched_getparam(th->tid, &param) < 0)
		return err_set(errno, "thread %d: sched_getparam()", th->tid);
	e->has_sched_prio = true;
	e->sched_prio = (uint32_t)param.sched_priority;
	return 0;
}

static int sched_check(struct restoring *r, const struct snap_task *t)
{
	(void)r;
	for (size_t k = 0; k < t->ncores; k++) {
		int e = check_policy((int)t->pst->threads[k], t->cores[k]->thread_core->sched_policy);

		if (e < 0)
			return e;
	}
	return 0;
}

static int sched_emit_thread(struct restoring *r, const struct snap_task *t, size_t k, struct prog *p)
{
	const ThreadCoreEntry *e = t->cores[k]->thread_core;
	const struct sched_param param = { .sched_priority = e->has_sched_prio ? (int)e->sched_prio : 0 };
	uint64_t slack = e->has_thaw_timerslack_ns ? e->thaw_timerslack_ns : TIMERSLACK_NS;

	if (r->own.timerslack_ns != slack) {
		prog_label(p, "set the timer slack");
		prog_sys(p, SYS_prctl, PR_SET_TIMERSLACK, slack);
	}
	if (e->has_sched_nice && r->own.nice != e->sched_nice) {
		prog_label(p, "set niceness %d", e->sched_nice);
		prog_sys(p, SYS_setpriority, PRIO_PROCESS, 0, (uint64_t)(int64_t)e->sched_nice);
	}
	if (e->has_sched_policy && (is_realtime(e->sched_policy) || r->own.sched_policy != (int)e->sched_policy)) {
		prog_label(p, "set scheduling policy %u, priority %d", e->sched_policy, param.sched_priority);
		prog_sys(p, SYS_sched_setscheduler, 0, e->sched_policy, prog_data(p->space, &param, sizeof(param)));
	}
	return 0;
}

const struct kind_task kind_task_sched = {
	.name = "scheduling",
	.ask_thread = sched_ask,
	.dump_thread = sched_dump_thread,
	.check = sched_check,
	.emit_thread = sched_emit_thread,
};
