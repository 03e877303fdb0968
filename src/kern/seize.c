/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping a process tree (seize.h). Runs in the engine, before it has other threads than tracers.
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
 *
 * Who is to be seized is collected, then all are; each task by one tracer, which looks after its threads to the end.
 */
#include "base/trace.h"
#include "kern/seize_refuse.h"
#include "kern/seize_member.h"

enum { DEFAULT_TIMEOUT_MS = 10000 };

/* --- the tree ----------------------------------------------------------------------------------- */

static int tree_add(struct seizer *z, pid_t pid, struct seize_task *parent)
{
	struct member *m;
	int fd;

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
	m->hand = tracers_choose(z->set.crew);
	HASH_ADD(hh, z->by_pid, task.pid, sizeof(pid), m);
	arena_add(z->a, &z->out.tasks, &z->out.n_tasks, &m->task);
	m->gen++;
	member_stop(z, m, pid);
	return 0;
}

/* Settles the tasks from `from` on. */
static int tree_settle(struct seizer *z, size_t from)
{
	bool again = true;

	while (again) {
		struct tracee *late = NULL;
		int r = seize_wanted(z);

		if (!r)
			r = tracees_wait(&z->set, &z->waiter, &late);
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
		if (!r && again && !z->set.n_pending && !z->n_wanted) { /* somebody is on his way out, or in an exec */
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

	tracers_expect(z->set.crew, n);
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

int seize_tree(pid_t root, uint64_t timeout_ns, unsigned hands, struct arena *a, struct seize **ret_seize)
{
	struct seizer *z = arena_alloc(a, sizeof(*z));
	int r;

	z->a = z->set.a = a;
	z->set.crew = tracers_new(a, hands);
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

int seize_run(struct seize *s, crew_fn *fn, void *ctx, const uint8_t *hand, size_t n)
{
	return tracers_each(((struct seizer *)s)->set.crew, fn, ctx, hand, n);
}

struct each {
	const struct seizer *z;
	seize_fn *fn;
	void *ctx;
};

static int each_own(void *ctx, size_t hand, struct arena *a)
{
	const struct each *e = ctx;
	int r = 0;

	(void)a;
	for (size_t i = 0; r >= 0 && i < e->z->out.n_tasks; i++) {
		const struct seize_task *t = e->z->out.tasks[i];

		for (size_t k = 0; r >= 0 && k < t->n_tids; k++)
			if (t->hands[k] == hand)
				r = e->fn(e->ctx, t->tids[k]);
	}
	return r;
}

int seize_each(struct seize *s, seize_fn *fn, void *ctx)
{
	struct each e = { (struct seizer *)s, fn, ctx };

	return tracers_run(e.z->set.crew, each_own, &e);
}

/* --- one thread that runs meanwhile ------------------------------------------------------------- */

int seize_let_run(struct seize *s, pid_t tid, bool to_syscall)
{
	struct tracee *t = tracees_find(&((struct seizer *)s)->set, tid);
	int r;

	if (!t || t->state != TRACEE_STOPPED || t->hand)
		return err_say(ESRCH, "thread %d does not stand, or is another tracer's", tid);
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
	int r;

	m->settled = false;
	for (size_t i = 0; i < m->n_threads; i++)
		if (m->thread[i]->state == TRACEE_PENDING)
			tracees_expect(&z->set, m->thread[i]);
	ptrace_waiter_begin(&z->waiter, trace_now_ns() + z->timeout_ns);
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
	tracers_end(z->set.crew);
	HASH_CLEAR(hh, z->by_pid);
	*s = (struct seize){ 0 };
}
