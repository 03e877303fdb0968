/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers: the three interval timers and those of timer_create().
 *
 * Which POSIX timers there are, and whom they notify, is in /proc/PID/timers; the
 * time left is told to the task itself only. An image holds the time left, not
 * the date: a timer goes on as if the time of the dump had not passed.
 *
 * A program knows a timer by its ID, so the ID must come out the same. Since 6.15
 * the kernel takes wishes (PR_TIMER_CREATE_RESTORE_IDS). Before, a process counts its
 * timers from 0: those in between are created and deleted again. timer_settime() by
 * the old ID, also of a timer that is not armed, fails if that went wrong.
 *
 * Overruns of a signal already delivered are in the image for CRIU and cannot be set.
 *
 * Runs in the engine. Emitted when all threads exist (SIGEV_THREAD_ID names one)
 * and as late as possible. Order in the table: after signals (what was pending
 * comes before what fires now), before limits (RLIMIT_SIGPENDING counts timers).
 */
#include <inttypes.h>
#include <linux/prctl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "base/cleanup.h"
#include "kind/kind.h"
#include "kind/task_entry.h"

/* linux/prctl.h has them since 6.15 */
#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON 1
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif

enum { ITIMERS = 3, MAX_COUNTED_ID = 4096, CLOCK_TYPE_MASK = 7, CLOCK_OF_FD = 3, CLOCK_PER_THREAD = 4 };

/* The kernel's struct itimerval and struct itimerspec: interval and the time left. */
struct spec {
	int64_t isec, ifrac, vsec, vfrac;
};

/* The kernel's struct sigevent. */
struct event {
	uint64_t sival;
	int32_t signo, notify, tid, pad[11];
};
_Static_assert(sizeof(struct event) == 64, "struct sigevent of the kernel");

struct asked {
	struct spec *itimers;
	struct proc_timer *timers;
	size_t n;
	struct spec *specs;            /* of each timer */
	const struct prog_rec **overruns;
	int failed;                    /* reading /proc: ask() has no way to say so */
};

static void *timer_ask(struct dumping *d, struct dump_task *t, struct prog *p)
{
	struct asked *q = arena_alloc(d->a, sizeof(*q));
	uint64_t va;

	q->failed = proc_timers(t->proc_fd, d->a, &q->timers, &q->n);
	if (q->failed < 0)
		return q;
	q->itimers = prog_alloc(p->space, ITIMERS * sizeof(*q->itimers), &va);
	for (uint64_t i = 0; i < ITIMERS; i++) {
		prog_label(p, "ask for interval timer %" PRIu64, i);
		prog_sys(p, SYS_getitimer, i, va + i * sizeof(*q->itimers));
	}
	q->specs = prog_alloc(p->space, q->n * sizeof(*q->specs), &va);
	q->overruns = arena_alloc(d->a, q->n * sizeof(*q->overruns));
	for (size_t i = 0; i < q->n; i++) {
		prog_label(p, "ask for timer %d", q->timers[i].id);
		prog_sys(p, SYS_timer_gettime, (uint64_t)q->timers[i].id, va + i * sizeof(*q->specs));
		q->overruns[i] = prog_sys(p, SYS_timer_getoverrun, (uint64_t)q->timers[i].id);
	}
	return q;
}

static ItimerEntry *itimer_entry(struct arena *a, const struct spec *s)
{
	ItimerEntry *e = arena_msg(a, itimer_entry, ItimerEntry);

	e->isec = (uint64_t)s->isec;
	e->iusec = (uint64_t)s->ifrac;
	e->vsec = (uint64_t)s->vsec;
	e->vusec = (uint64_t)s->vfrac;
	return e;
}

/* A clock that another process cannot name in the same way. */
static int check_clock(int id, int32_t clock, size_t nthreads)
{
	if (clock < 0 && (clock & CLOCK_TYPE_MASK) == CLOCK_OF_FD)
		return err_say(ENOTSUP, "timer %d: a clock device is not supported yet", id);
	/* the kernel does not tell whose CPU time it counts */
	if (clock == CLOCK_THREAD_CPUTIME_ID && nthreads > 1)
		return err_say(ENOTSUP, "timer %d: the CPU clock of one of several threads is not supported yet", id);
	return 0;
}

static PosixTimerEntry *posix_entry(struct arena *a, const struct proc_timer *t, const struct spec *s, int64_t overrun)
{
	PosixTimerEntry *e = arena_msg(a, posix_timer_entry, PosixTimerEntry);

	e->it_id = (uint32_t)t->id;
	e->clock_id = (uint32_t)t->clockid;
	e->si_signo = (uint32_t)t->signo;
	e->it_sigev_notify = (uint32_t)t->notify;
	e->sival_ptr = t->sival;
	e->overrun = (uint32_t)overrun;
	e->isec = (uint64_t)s->isec;
	e->insec = (uint64_t)s->ifrac;
	e->vsec = (uint64_t)s->vsec;
	e->vnsec = (uint64_t)s->vfrac;
	if (t->notify & SIGEV_THREAD_ID) {
		e->has_notify_thread_id = true;
		e->notify_thread_id = t->tid;
	}
	return e;
}

static int by_id(const void *a, const void *b)
{
	const PosixTimerEntry *x = *(PosixTimerEntry *const *)a, *y = *(PosixTimerEntry *const *)b;

	return x->it_id < y->it_id ? -1 : x->it_id > y->it_id;
}

static int timer_dump(struct dumping *d, struct dump_task *t, const void *asked)
{
	const struct asked *q = asked;
	TaskTimersEntry *e = arena_msg(d->a, task_timers_entry, TaskTimersEntry);

	if (q->failed < 0)
		return q->failed;
	e->real = itimer_entry(d->a, &q->itimers[ITIMER_REAL]);
	e->virt = itimer_entry(d->a, &q->itimers[ITIMER_VIRTUAL]);
	e->prof = itimer_entry(d->a, &q->itimers[ITIMER_PROF]);
	for (size_t i = 0; i < q->n; i++) {
		int r = check_clock(q->timers[i].id, q->timers[i].clockid, t->nthreads);

		if (r < 0)
			return r;
		arena_add(d->a, &e->posix, &e->n_posix,
			  posix_entry(d->a, &q->timers[i], &q->specs[i], q->overruns[i]->ret));
	}
	/* who has to count up to each number needs them in order; the kernel lists the newest first */
	if (e->n_posix)
		qsort(e->posix, e->n_posix, sizeof(PosixTimerEntry *), by_id);
	task_entry_shared(d->a, t->threads[0].core)->timers = e;
	return 0;
}

static bool ids_can_be_asked_for(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

static bool has_thread(const struct snap_task *t, int32_t tid)
{
	for (size_t k = 0; k < t->ncores; k++)
		if ((int32_t)t->pst->threads[k] == tid)
			return true;
	return false;
}

static int timer_check(struct restoring *r, const struct snap_task *t)
{
	const TaskTimersEntry *e = t->cores[0]->tc->timers;

	(void)r;
	for (size_t i = 0; e && i < e->n_posix; i++) {
		const PosixTimerEntry *x = e->posix[i];
		int c = check_clock((int)x->it_id, (int32_t)x->clock_id, t->ncores);

		if (c < 0)
			return c;
		if (x->it_sigev_notify & SIGEV_THREAD_ID && !has_thread(t, x->notify_thread_id))
			return err_say(EINVAL, "timer %u notifies thread %d, which is not in the image", x->it_id,
				       x->notify_thread_id);
		if (x->it_id > MAX_COUNTED_ID && (x->it_id > INT32_MAX || !ids_can_be_asked_for()))
			return err_say(ENOTSUP, "timer %u: a timer ID this high needs Linux 6.15", x->it_id);
	}
	return 0;
}

/*
 * The kernel starts ITIMER_REAL again only when its signal is taken: while that is pending (always, if it fires in a
 * task that stands still to be dumped) no time is left but there is an interval. Starting it with 0
 * would stop it for good.
 */
static bool itimer_fired(uint64_t which, const ItimerEntry *e)
{
	return which == ITIMER_REAL && (e->isec || e->iusec) && !e->vsec && !e->vusec;
}

static void emit_itimer(struct prog *p, uint64_t which, const ItimerEntry *e)
{
	struct spec s;

	if (!e || (!e->vsec && !e->vusec && !itimer_fired(which, e)))
		return;
	s = (struct spec){ (int64_t)e->isec, (int64_t)e->iusec, (int64_t)e->vsec, (int64_t)e->vusec };
	if (itimer_fired(which, e))
		s.vfrac = 1;
	prog_label(p, "start interval timer %" PRIu64, which);
	prog_sys(p, SYS_setitimer, which, prog_data(p->space, &s, sizeof(s)), 0);
}

static void emit_create(struct prog *p, const PosixTimerEntry *e)
{
	const struct event ev = {
		.sival = e->sival_ptr,
		.signo = (int32_t)e->si_signo,
		.notify = (int32_t)e->it_sigev_notify,
		.tid = e->has_notify_thread_id ? e->notify_thread_id : 0,
	};
	int32_t id = (int32_t)e->it_id;

	prog_label(p, "create timer %d", id);
	prog_sys(p, SYS_timer_create, (uint64_t)(int64_t)(int32_t)e->clock_id, prog_data(p->space, &ev, sizeof(ev)),
		 prog_data(p->space, &id, sizeof(id)));
}

static void emit_start(struct prog *p, const PosixTimerEntry *e)
{
	const struct spec s = { (int64_t)e->isec, (int64_t)e->insec, (int64_t)e->vsec, (int64_t)e->vnsec };

	prog_label(p, "start timer %u", e->it_id);
	prog_sys(p, SYS_timer_settime, e->it_id, 0, prog_data(p->space, &s, sizeof(s)), 0);
}

/* Counts a process's next timer ID on from *next to id. */
static void emit_skip(struct prog *p, uint32_t *next, uint32_t id)
{
	const struct event none = { .notify = SIGEV_NONE };

	prog_label(p, "count up to timer %u", id);
	for (; *next < id; (*next)++) {
		uint64_t va;

		prog_alloc(p->space, sizeof(int32_t), &va);
		prog_sys(p, SYS_timer_create, CLOCK_MONOTONIC, prog_data(p->space, &none, sizeof(none)), va);
		prog_sys(p, SYS_timer_delete, *next);
	}
	(*next)++;
}

static void emit_posix(struct restoring *r, const TaskTimersEntry *e, struct prog *p)
{
	bool wish = ids_can_be_asked_for();
	PosixTimerEntry **v = arena_memdup(r->a, e->posix, e->n_posix * sizeof(PosixTimerEntry *));
	uint32_t next = 0;

	qsort(v, e->n_posix, sizeof(PosixTimerEntry *), by_id);
	prog_label(p, "let timers have the IDs they had");
	if (wish)
		prog_sys(p, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON);
	for (size_t i = 0; i < e->n_posix; i++) {
		if (!wish)
			emit_skip(p, &next, v[i]->it_id);
		emit_create(p, v[i]);
	}
	if (wish)
		prog_sys(p, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF);
	for (size_t i = 0; i < e->n_posix; i++)
		emit_start(p, v[i]);
}

static int timer_emit_late(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	const TaskTimersEntry *e = t->cores[0]->tc->timers;

	if (!e)
		return 0;
	emit_itimer(p, ITIMER_REAL, e->real);
	emit_itimer(p, ITIMER_VIRTUAL, e->virt);
	emit_itimer(p, ITIMER_PROF, e->prof);
	if (e->n_posix)
		emit_posix(r, e, p);
	return 0;
}

const struct kind_task kind_task_timer = {
	.name = "timers",
	.ask = timer_ask,
	.dump = timer_dump,
	.check = timer_check,
	.emit_late = timer_emit_late,
};
