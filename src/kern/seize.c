/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping a process tree (seize.h). Runs in the engine, before it has other threads.
 *
 * Level by level: the tasks of one level are seized, waited for together, and
 * settled: a task is settled when its leader stands and a listing of its threads has only
 * such that stand, so nothing in it can make threads or children any more. Only then are
 * its children read, so that no fork is missed. What a level can still do to a level
 * above that was read already is to die and leave orphans: they go to the first living thread of a
 * subreaper or init, so at the end the leaders' lists are read again until nothing is new.
 *
 * Leaders are seized alone first: most processes have no other thread, and one stat
 * is cheaper than a listing.
 */
#include "kern/seize.h"

#include <string.h>

#include "base/trace.h"
#include "kern/seize_refuse.h"
#include "kern/tracees.h"
#include "kern/watchdog.h"

enum { DEFAULT_TIMEOUT_MS = 10000, TRIES = 5 };

struct member { /* a task of the tree, and what we know of it on the way */
	struct seize_task task; /* first: handed out */
	struct tracee **thread;
	size_t n_threads;
	unsigned int gen;
	bool settled, gone;
	UT_hash_handle hh;
};

struct seizer {
	struct seize out; /* first: handed out */
	struct arena *a;
	struct tracees set;
	struct member *by_pid; /* uthash */
	struct ptrace_waiter waiter;
	struct watchdog watchdog;
	uint64_t timeout_ns;
};

/* --- one task ----------------------------------------------------------------------------------- */

static void member_close(struct member *m)
{
	if (m->task.proc_fd >= 0)
		close(m->task.proc_fd);
	m->task.proc_fd = -1;
}

/*
 * Seizes a thread: 1 and the tracee, 0 if it is dead or stuck in an exec, or -errno. An exec in another
 * thread puts that one in the leader's place between a failed seize and the look at
 * the reason: what has no reason is tried again.
 */
static int member_seize(struct seizer *z, struct member *m, pid_t tid, struct tracee **ret_tracee)
{
	int r = 0;

	for (int i = 0; i < TRIES; i++) {
		r = tracees_seize(&z->set, tid, ret_tracee);
		if (!r || r == -ESRCH || r == -EAGAIN)
			return !r;
		r = seize_explain(m->task.proc_fd, m->task.pid, tid, r, z->a);
		if (!r || (r < 0 && r != -EPERM))
			return r;
		if (r > 0) {
			r = tracees_adopt(&z->set, tid, ret_tracee);
			return r < 0 ? r : 1;
		}
	}
	return r;
}

/* Stops one thread of m: 0 if it stands already; 1 if that has only begun, or if it is dead or stuck; or -errno. */
static int member_stop_thread(struct seizer *z, struct member *m, pid_t tid)
{
	struct tracee *t = tracees_find(&z->set, tid);
	int r = 0;

	if (!t || t->state == TRACEE_DIED) {
		r = member_seize(z, m, tid, &t);
		if (r <= 0)
			return r < 0 ? r : 1;
		arena_add(z->a, &m->thread, &m->n_threads, t);
	}
	t->gen = m->gen;
	return r;
}

/*
 * Stops the threads that are listed now; those that are not listed any more are
 * reaped (an exec killed them). 0 if all of them stand, 1 if there was any change, or -errno.
 */
static int member_list(struct seizer *z, struct member *m)
{
	pid_t *tids;
	size_t n;
	int r = proc_threads(m->task.proc_fd, z->a, &tids, &n), news = r < 0;

	m->gen++;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = member_stop_thread(z, m, tids[i]);
		news |= r != 0;
	}
	for (size_t i = 0; r >= 0 && i < m->n_threads; i++) {
		if (m->thread[i]->gen == m->gen || m->thread[i]->state != TRACEE_STOPPED)
			continue;
		r = tracees_expect(&z->set, m->thread[i]);
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

/* One step towards a task that stands for good; m->settled tells. */
static int member_settle(struct seizer *z, struct member *m)
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
		r = member_stop_thread(z, m, m->task.pid);
		return r < 0 ? r : 0;
	}
	if (stat->state != 't')
		return tracees_expect(&z->set, leader);
	if (stat->num_threads > 1 || m->n_threads > 1) {
		/* counting is not enough: an exec leaves us with records of threads that it killed */
		r = member_list(z, m);
		if (r < 0)
			return r;
	}
	m->settled = !r;
	return 0;
}

/* --- the tree ----------------------------------------------------------------------------------- */

static int tree_add(struct seizer *z, pid_t pid, struct seize_task *parent)
{
	struct member *m;
	int fd, r;

	HASH_FIND(hh, z->by_pid, &pid, sizeof(pid), m);
	if (m && !m->gone)
		return 0;
	if (pid == getpid())
		return err_say(EINVAL, "thaw itself (task %d) is part of the tree", pid);
	fd = proc_open(pid);
	if (fd < 0)
		return is_gone(fd) ? 0 : fd;
	if (m)
		HASH_DEL(z->by_pid, m);
	m = arena_alloc(z->a, sizeof(*m));
	m->task = (struct seize_task){ .pid = pid, .proc_fd = fd, .parent = parent };
	HASH_ADD(hh, z->by_pid, task.pid, sizeof(pid), m);
	arena_add(z->a, &z->out.tasks, &z->out.n_tasks, &m->task);
	m->gen++;
	r = member_stop_thread(z, m, pid);
	return r < 0 ? r : 0;
}

/* Settles the tasks from `from` on. */
static int tree_settle(struct seizer *z, size_t from)
{
	bool again = true;

	while (again) {
		struct tracee *late = NULL;
		int r = tracees_wait(&z->set, &z->waiter, &late);

		if (late)
			return seize_late(late->tid, z->timeout_ns);
		if (r < 0)
			return r;
		again = false;
		for (size_t i = from; !r && i < z->out.n_tasks; i++) {
			struct member *m = (struct member *)z->out.tasks[i];

			if (!m->settled)
				r = member_settle(z, m);
			again = again || !m->settled;
		}
		if (!r && again && !z->set.n_pending) { /* somebody is on his way out, or in an exec */
			r = tracees_nudge(&z->set);
			if (!r)
				r = ptrace_waiter_pause(&z->waiter);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_children(struct seizer *z, struct seize_task *parent, pid_t *pids, size_t n)
{
	int r = 0;

	for (size_t i = 0; !r && i < n; i++)
		r = tree_add(z, pids[i], parent);
	return r;
}

/* Adds the children that one thread, or all threads, of a task have. */
static int tree_descend(struct seizer *z, struct seize_task *t, bool leader_only)
{
	const struct member *m = (const struct member *)t;
	pid_t *pids = NULL, *tids;
	size_t n = 0, n_tids = 0;
	int r;

	if (t->state == SEIZE_ZOMBIE)
		return 0;
	tids = arena_alloc(z->a, m->n_threads * sizeof(*tids));
	for (size_t i = 0; !leader_only && i < m->n_threads; i++)
		if (m->thread[i]->state == TRACEE_STOPPED)
			tids[n_tids++] = m->thread[i]->tid;
	if (leader_only)
		r = proc_children(t->proc_fd, t->pid, z->a, &pids, &n);
	else
		r = proc_offspring(t->proc_fd, t->pid, tids, n_tids, z->a, &pids, &n);
	if (is_gone(r)) /* killed: its children are in some other list now */
		r = 0;
	return r < 0 ? r : add_children(z, t, pids, n);
}

/* Everything below the tasks that were added since `from`, level by level. */
static int tree_grow(struct seizer *z, size_t from)
{
	int r = 0;

	while (!r && from < z->out.n_tasks) {
		size_t to = z->out.n_tasks;

		r = tree_settle(z, from);
		for (; !r && from < to; from++)
			r = tree_descend(z, z->out.tasks[from], false);
	}
	return r;
}

static int tree_stop(struct seizer *z, pid_t root)
{
	size_t from = 0, known;
	int r = tree_add(z, root, NULL);

	if (!r && !z->out.n_tasks)
		return err_say(ESRCH, "there is no task %d", root);
	while (!r) {
		r = tree_grow(z, from);
		known = from = z->out.n_tasks;
		for (size_t i = 0; !r && i < known; i++)
			r = tree_descend(z, z->out.tasks[i], true);
		if (!r && z->out.n_tasks == known)
			break;
	}
	return r;
}

/* --- the result --------------------------------------------------------------------------------- */

static void member_fill(struct seizer *z, struct member *m)
{
	struct seize_task *t = &m->task;

	t->ppid = t->stat.ppid;
	t->pgid = t->stat.pgrp;
	t->sid = t->stat.session;
	memcpy(t->comm, t->stat.comm, sizeof(t->comm));
	t->tids = arena_alloc(z->a, m->n_threads * sizeof(*t->tids));
	for (size_t i = 0; i < m->n_threads; i++) {
		if (m->thread[i]->state != TRACEE_STOPPED)
			continue;
		t->tids[t->n_tids++] = m->thread[i]->tid;
		if (m->thread[i]->stop_sig) {
			t->state = SEIZE_STOPPED;
			t->stop_sig = m->thread[i]->stop_sig;
		}
	}
	z->out.n_threads += t->n_tids;
}

/* A PID that was reused between its parent's list and our seize belongs to a stranger. */
static bool is_stranger(const struct seize_task *t)
{
	return t->parent && t->stat.ppid != t->parent->pid;
}

/* Drops the tasks that are gone and fills in the rest. */
static int tree_finish(struct seizer *z, pid_t root)
{
	size_t n = 0;

	for (size_t i = 0; i < z->out.n_tasks; i++) {
		struct member *m = (struct member *)z->out.tasks[i];

		if (m->gone) {
			member_close(m);
			continue;
		}
		if (is_stranger(&m->task))
			return err_say(EAGAIN, "task %d (%s) is not the child of task %d any more", m->task.pid,
				       m->task.stat.comm, m->task.parent->pid);
		member_fill(z, m);
		z->out.tasks[n++] = &m->task;
	}
	z->out.n_tasks = n;
	if (!n || z->out.tasks[0]->pid != root || z->out.tasks[0]->state == SEIZE_ZOMBIE)
		return err_say(ESRCH, "task %d has exited", root);
	return 0;
}

int seize_tree(pid_t root, uint64_t timeout_ns, struct arena *a, struct seize **ret_seize)
{
	struct seizer *z = arena_alloc(a, sizeof(*z));
	int r;

	z->a = z->set.a = a;
	z->timeout_ns = timeout_ns ? timeout_ns : DEFAULT_TIMEOUT_MS * UINT64_C(1000000);
	if (root <= 0)
		return err_say(EINVAL, "%d is no PID", root);
	r = seize_check_root(root);
	if (r < 0)
		return r;
	ptrace_waiter_begin(&z->waiter, trace_now_ns() + z->timeout_ns);
	r = watchdog_begin(&z->watchdog);
	if (!r)
		r = tree_stop(z, root);
	if (!r)
		r = tree_finish(z, root);
	watchdog_end(&z->watchdog);
	ptrace_waiter_end(&z->waiter);
	if (r < 0) {
		char *why = arena_strdup(a, err_text()); /* letting go has failures of its own */

		seize_release(&z->out, 0);
		return err_adopt(-r, why);
	}
	*ret_seize = &z->out;
	return 0;
}

/* --- one thread that runs meanwhile ------------------------------------------------------------- */

int seize_let_run(struct seize *s, pid_t tid, bool to_syscall)
{
	struct tracee *t = tracees_find(&((struct seizer *)s)->set, tid);
	int r;

	if (!t || t->state != TRACEE_STOPPED)
		return err_say(ESRCH, "thread %d does not stand", tid);
	r = to_syscall ? ptrace_syscall(tid, 0) : ptrace_cont(tid, 0);
	if (!r)
		t->state = TRACEE_PENDING;
	return r;
}

int seize_tend(struct seize *s, pid_t tid)
{
	struct tracee *t = tracees_find(&((struct seizer *)s)->set, tid);
	struct ptrace_stop stop = { .kind = PTRACE_STOP_DIED };
	int r = t && t->state == TRACEE_PENDING ? ptrace_poll(tid, &stop) : 0;

	if (r < 0 || stop.kind == PTRACE_STOP_NONE)
		return r;
	if (stop.kind == PTRACE_STOP_SYSCALL)
		return 1;
	if (stop.kind != PTRACE_STOP_DIED)
		return ptrace_cont(tid, stop.kind == PTRACE_STOP_SIGNAL ? stop.sig : 0);
	if (t)
		t->state = TRACEE_DIED;
	return err_say(ESRCH, "thread %d has ended", tid);
}

/* All of its threads stand, whoever they are now. */
static int member_settle_again(struct seizer *z, struct member *m)
{
	int r = 0;

	m->settled = false;
	for (size_t i = 0; !r && i < m->n_threads; i++)
		if (m->thread[i]->state == TRACEE_PENDING)
			r = tracees_expect(&z->set, m->thread[i]);
	ptrace_waiter_begin(&z->waiter, trace_now_ns() + z->timeout_ns);
	if (!r)
		r = watchdog_begin(&z->watchdog);
	if (!r)
		r = tree_settle(z, 0);
	watchdog_end(&z->watchdog);
	ptrace_waiter_end(&z->waiter);
	return r;
}

int seize_again(struct seize *s, struct seize_task *t)
{
	struct seizer *z = (struct seizer *)s;
	struct member *m = (struct member *)t;
	int r = member_settle_again(z, m);

	if (r < 0)
		return r;
	if (m->gone || t->state == SEIZE_ZOMBIE)
		return err_say(ESRCH, "task %d has ended", t->pid);
	z->out.n_threads -= t->n_tids;
	t->n_tids = 0;
	t->state = SEIZE_ALIVE;
	member_fill(z, m);
	return 0;
}

void seize_release(struct seize *s, int sig)
{
	struct seizer *z = (struct seizer *)s;

	if (!s)
		return;
	for (size_t i = 0; i < s->n_tasks; i++) {
		struct member *m = (struct member *)s->tasks[i];

		if (sig && m->task.state != SEIZE_ZOMBIE)
			kill(m->task.pid, sig);
		member_close(m);
	}
	if (sig == SIGKILL)
		tracees_reap(&z->set);
	else
		tracees_detach(&z->set);
	tracees_drop(&z->set);
	HASH_CLEAR(hh, z->by_pid);
	*s = (struct seize){ 0 };
}
