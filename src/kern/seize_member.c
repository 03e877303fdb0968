/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a tree that is being stopped, one by one (seize_member.h). */
#include "kern/seize_member.h"

#include <string.h>

#include "kern/seize_refuse.h"

enum { TRIES = 5 };

void member_close(struct member *m)
{
	if (m->task.proc_fd >= 0)
		close(m->task.proc_fd);
	m->task.proc_fd = -1;
}

int member_stop(struct seizer *z, struct member *m, pid_t tid)
{
	struct tracee *t = tracees_find(&z->set, tid);
	struct wanted *w;

	if (t && t->state != TRACEE_DIED) {
		t->gen = m->gen;
		return 0;
	}
	w = arena_alloc(z->a, sizeof(*w));
	*w = (struct wanted){ .m = m, .tid = tid };
	arena_add(z->a, &z->wanted, &z->n_wanted, w);
	return 1;
}

/*
 * Stops the threads that are listed now; those that are not listed any more are reaped (an exec killed them).
 * 0 if all of them stand, 1 if there was any change, or -errno. As many must be listed as the look at the leader has
 * counted: else an exec between the two has put a thread in the leader's place, and under its number, that we do not
 * hold.
 */
static int member_list(struct seizer *z, struct member *m)
{
	pid_t *tids;
	size_t n;
	int r = proc_threads(m->task.proc_fd, z->a, &tids, &n), news = r < 0 || n != m->task.stat.num_threads;

	m->gen++;
	for (size_t i = 0; r >= 0 && i < n; i++)
		news |= member_stop(z, m, tids[i]);
	for (size_t i = 0; r >= 0 && i < m->n_threads; i++) {
		if (m->thread[i]->gen == m->gen || m->thread[i]->state != TRACEE_STOPPED)
			continue;
		tracees_expect(&z->set, m->thread[i]);
		news = 1;
	}
	return r < 0 && !is_gone(r) ? r : news;
}

static void member_end(struct member *m, bool zombie)
{
	m->settled = true;
	m->gone = !zombie;
	m->task.state = SEIZE_ZOMBIE;
	m->task.exit_code = m->task.stat.exit_code;
}

/* Does a thread stand that no exit_group() has woken again? */
static bool member_lives(const struct member *m)
{
	for (size_t i = 0; i < m->n_threads; i++) {
		struct proc_stat stat;

		if (m->thread[i]->state == TRACEE_STOPPED &&
		    !proc_stat_read(m->task.proc_fd, m->thread[i]->tid, &stat) && stat.state == 't')
			return true;
	}
	return false;
}

/* The leader is dead: so is the task, or soon, unless other threads of it stand here alive. */
static int member_settle_dead(struct seizer *z, struct member *m)
{
	int r;

	if (m->task.stat.num_threads <= 1) {
		member_end(m, m->task.stat.state == 'Z');
		return 0;
	}
	if (member_lives(m))
		return err_say(ENOTSUP, "task %d (%s): its first thread has exited before the others, "
			       "which is not supported yet", m->task.pid, m->task.stat.comm);
	r = member_list(z, m);
	return r < 0 ? r : 0;
}

int member_settle(struct seizer *z, struct member *m)
{
	struct tracee *leader = tracees_find(&z->set, m->task.pid);
	struct proc_stat *stat = &m->task.stat;
	int r = proc_stat_read(m->task.proc_fd, 0, stat);

	if (is_gone(r)) {
		member_end(m, false);
		return 0;
	}
	if (r < 0)
		return r;
	if (stat->state == 'Z' || stat->state == 'X')
		return member_settle_dead(z, m);
	if (!leader || leader->state == TRACEE_DIED) { /* an exec in another thread has renewed it */
		member_stop(z, m, m->task.pid);
		return 0;
	}
	if (stat->state != 't') {
		tracees_expect(&z->set, leader);
		return 0;
	}
	/*
	 * Counting is not enough: an exec leaves us with records of threads that it killed. None counted: it did so
	 * while we looked.
	 */
	r = stat->num_threads != 1 || m->n_threads > 1 ? member_list(z, m) : 0;
	m->settled = !r;
	return r < 0 ? r : 0;
}

void member_fill(struct seizer *z, struct member *m)
{
	struct seize_task *t = &m->task;

	t->ppid = t->stat.ppid;
	t->pgid = t->stat.pgrp;
	t->sid = t->stat.session;
	memcpy(t->comm, t->stat.comm, sizeof(t->comm));
	t->tids = arena_alloc(z->a, m->n_threads * sizeof(*t->tids));
	t->hands = arena_alloc(z->a, m->n_threads);
	for (size_t i = 0; i < m->n_threads; i++) {
		if (m->thread[i]->state != TRACEE_STOPPED)
			continue;
		t->hands[t->n_tids] = m->thread[i]->hand;
		t->tids[t->n_tids++] = m->thread[i]->tid;
		if (m->thread[i]->stop_sig) {
			t->state = SEIZE_STOPPED;
			t->stop_sig = m->thread[i]->stop_sig;
		}
	}
	z->out.n_threads += t->n_tids;
}

/* --- seizing ------------------------------------------------------------------------------------ */

/*
 * In the thread that is to trace it. Not ours in the end is what is dead, or stuck in an exec. An exec in another
 * thread puts that one in the leader's place between a failed seize and the look at
 * the reason: what has no reason is tried again.
 */
static int wanted_seize(const struct seizer *z, struct wanted *w, struct arena *a)
{
	int r = 0;

	for (int i = 0; i < TRIES; i++) {
		w->tracer = w->m->hand;
		r = tracee_seize(w->tid);
		w->ours = !r;
		if (!r || r == -ESRCH || r == -EAGAIN)
			return 0;
		r = seize_explain(w->m->task.proc_fd, w->m->task.pid, w->tid, r, z->set.crew, a, &w->tracer);
		w->ours = w->poke = r > 0; /* by way of an exec, which gave it another number */
		if (r != -EPERM)
			return r < 0 ? r : 0;
	}
	return r;
}

static int seize_own(void *ctx, size_t hand, struct arena *a)
{
	struct seizer *z = ctx;
	struct watchdog watchdog;
	int r = hand ? watchdog_begin_second(&watchdog) : 0;

	if (r < 0)
		return r;
	for (size_t i = 0; !r && i < z->n_wanted; i++)
		if (z->wanted[i]->m->hand == hand)
			r = wanted_seize(z, z->wanted[i], a);
	if (hand)
		watchdog_end(&watchdog);
	return r;
}

int seize_wanted(struct seizer *z)
{
	int r;

	if (!z->n_wanted)
		return 0;
	r = tracers_run(z->set.crew, seize_own, z);
	for (size_t i = 0; i < z->n_wanted; i++) {
		const struct wanted *w = z->wanted[i];
		struct tracee *t;

		if (!w->ours)
			continue;
		t = tracees_add(&z->set, w->tid, w->tracer, w->poke);
		t->gen = w->m->gen;
		arena_add(z->a, &w->m->thread, &w->m->n_threads, t);
	}
	z->n_wanted = 0;
	return r;
}
