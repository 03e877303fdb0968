/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be seen of a stopped tree from outside: /proc, ptrace, namespaces. It
 * refuses here what no later step could make right, so that nothing was touched yet.
 */
#include <string.h>
#include <sys/stat.h>

#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "dump/dt.h"
#include "dump/leftover.h"
#include "kern/kcmp.h"
#include "kern/pidfd.h"

static const struct seize_task *seized(const struct dump *d, size_t i)
{
	return d->seized->tasks[i];
}

/* linux/ptrace.h has it since 6.4 */
#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif

/* Its program gets our questions instead of the kernel. */
static int check_dispatch(pid_t tid)
{
	uint64_t conf[4] = { 0 }; /* mode, selector, offset, length */

	if (!ptrace((enum __ptrace_request)PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, tid, sizeof(conf), conf) && conf[0])
		return err_say(ENOTSUP, "dispatch of system calls to user space (prctl) is not supported yet");
	return 0;
}

static bool signals_wait(const struct proc_status *s)
{
	return (s->sig_pnd | s->shd_pnd) & ~s->sig_blk;
}

int facts_held(struct dump *d, struct dthread *k, struct arena *a)
{
	struct dump_thread *th = k->th;
	uint8_t raw[PTRACE_XSAVE_MAX];
	int err = ptrace_get_regs(th->tid, &k->regs);

	if (err >= 0)
		err = regs_check_live(&k->regs);
	if (err >= 0)
		err = check_dispatch(th->tid);
	if (err >= 0)
		err = ptrace_get_rseq(th->tid, &th->rseq);
	if (err >= 0)
		err = regs_leave_rseq(th->tid, &th->rseq, &k->regs);
	if (err > 0)
		err = ptrace_set_regs(th->tid, &k->regs);
	if (err >= 0)
		err = ptrace_get_xsave(th->tid, raw, sizeof(raw), &k->xsave_len);
	if (err >= 0)
		err = ptrace_get_sigmask(th->tid, &th->sigmask);
	if (err >= 0) {
		k->xsave_len = xsave_counting(&d->xsave, raw, k->xsave_len);
		k->xsave = arena_memdup(a, raw, k->xsave_len);
	}
	return err_ctx(err, "thread %d", th->tid);
}

/* What status tells of it and thaw cannot bear. Its questions might kill a thread under seccomp. */
static int check_status(const struct dump_thread *th)
{
	int err = 0;

	if (th->status.seccomp)
		err = err_say(ENOTSUP, "%s is not supported yet",
			      th->status.seccomp == 1 ? "strict seccomp mode" : "a seccomp filter");
	else if (th->status.shadow_stack)
		err = err_say(ENOTSUP, "a user shadow stack is not supported yet");
	return err_ctx(err, "task %d (%s): thread %d", th->task->pid, th->task->stat.comm, th->tid);
}

int facts_registers(const struct dump *d, const struct dthread *k, struct arena *a)
{
	struct dump_thread *th = k->th;
	struct user_regs_struct saved = k->regs;
	int err = xsave_dump(&d->xsave, a, k->xsave, k->xsave_len, th->core);

	if (!signals_wait(&th->status))
		(void)regs_begin_again(&saved);
	if (err >= 0)
		regs_dump(a, th->tid, &saved, th->core);
	return err_ctx(err, "thread %d", th->tid);
}

static CoreEntry *add_core(struct dump *d, struct snap_task *t)
{
	CoreEntry *core = arena_msg(d->kinds.a, core_entry, CoreEntry);

	arena_add(d->kinds.a, &t->cores, &t->ncores, core);
	return core;
}

static TaskCoreEntry *task_core(struct dump *d, CoreEntry *core, const struct seize_task *s)
{
	TaskCoreEntry *tc = arena_msg(d->kinds.a, task_core_entry, TaskCoreEntry);

	core->mtype = CORE_ENTRY__MARCH__X86_64;
	core->tc = tc;
	tc->comm = arena_strdup(d->kinds.a, s->comm);
	tc->task_state = s->state == SEIZE_ZOMBIE ? TASK_DEAD : s->state == SEIZE_STOPPED ? TASK_STOPPED : TASK_ALIVE;
	tc->exit_code = (uint32_t)s->exit_code;
	if (s->state == SEIZE_STOPPED) {
		tc->has_stop_signo = true;
		tc->stop_signo = (uint32_t)s->stop_sig;
	}
	return tc;
}

static struct snap_task *add_task(struct dump *d, const struct seize_task *s)
{
	struct arena *a = d->kinds.a;
	struct snap_task *t = arena_alloc(a, sizeof(*t));

	t->pst = arena_msg(a, pstree_entry, PstreeEntry);
	t->pst->pid = (uint32_t)s->pid;
	t->pst->ppid = s->parent ? (uint32_t)s->parent->pid : 0;
	t->pst->pgid = (uint32_t)s->pgid;
	t->pst->sid = (uint32_t)s->sid;
	t->pst->n_threads = s->n_tids ? s->n_tids : 1;
	t->pst->threads = arena_alloc(a, t->pst->n_threads * sizeof(uint32_t));
	t->pst->threads[0] = (uint32_t)s->pid;
	for (size_t i = 0; i < s->n_tids; i++)
		t->pst->threads[i] = (uint32_t)s->tids[i];
	t->zombie = s->state == SEIZE_ZOMBIE;
	t->index = d->snap->ntasks;
	t->parent = s->parent ? snap_task(d->snap, (uint32_t)s->parent->pid) : NULL;
	if (t->parent)
		arena_add(a, &t->parent->children, &t->parent->nchildren, t);
	arena_add(a, &d->snap->tasks, &d->snap->ntasks, t);
	return t;
}

/* Its place in the lists, before anything is read of it. */
static int enlist_task(struct dump *d, struct dtask *k, struct dump_task *t, const struct seize_task *s)
{
	t->t = add_task(d, s);
	t->pid = s->pid;
	t->proc_fd = s->proc_fd;
	t->stat = s->stat;
	k->t = t;
	t->nthreads = s->n_tids;
	t->threads = arena_alloc(d->kinds.a, t->nthreads * sizeof(*t->threads));
	k->threads = arena_alloc(d->kinds.a, t->nthreads * sizeof(*k->threads));
	for (size_t i = 0; i < t->nthreads; i++) {
		CoreEntry *core = add_core(d, t->t);

		core->mtype = CORE_ENTRY__MARCH__X86_64;
		core->thread_core = arena_msg(d->kinds.a, thread_core_entry, ThreadCoreEntry);
		t->threads[i] = (struct dump_thread){ .task = t, .tid = s->tids[i], .core = core };
		k->threads[i] = (struct dthread){ .th = &t->threads[i], .task = k, .hand = s->hands[i] };
		if (!i)
			task_core(d, core, s);
	}
	t->pidfd = pidfd_for(s->pid);
	return t->pidfd < 0 ? t->pidfd : 0;
}

/* --- what is shared with whom ------------------------------------------------------------------- */

static int refuse_shared(const struct dump_task *a, const struct dump_task *b)
{
	static const struct {
		enum kcmp_what what;
		const char *name;
	} shared[] = { { KCMP_WHAT_VM, "memory" }, { KCMP_WHAT_FILES, "its descriptor table" },
		       { KCMP_WHAT_FS, "its working directory" }, { KCMP_WHAT_SIGHAND, "its signal handlers" } };

	for (size_t i = 0; i < ARRAY_LEN(shared); i++) {
		int same = kcmp_same(a->pid, b->pid, shared[i].what);

		if (same < 0)
			return same;
		if (same)
			return err_say(ENOTSUP, "it shares %s with task %d (%s): this is not supported yet", shared[i].name, b->pid,
				       b->stat.comm);
	}
	return 0;
}

/* Sharing without being a thread comes from clone() flags (vfork above all), so it is between parent and child. */
static int check_shared(const struct dump *d, size_t i)
{
	const struct dump_task *t = &d->kinds.tasks[i];

	for (size_t j = 0; j < i; j++)
		if (t->t->parent == d->kinds.tasks[j].t)
			return refuse_shared(t, &d->kinds.tasks[j]);
	return 0;
}

static int check_session(const struct dump *d)
{
	const struct seize_task *root = seized(d, 0);

	for (size_t i = 0; i < d->seized->n_tasks; i++) {
		const struct seize_task *s = seized(d, i);
		bool roots = s->sid == root->sid && root->sid != root->pid;

		/* 0: from outside of our PID namespace */
		if (roots ? !d->kinds.opts->shell_job : !s->sid)
			return err_say(EINVAL,
				       "task %d (%s): its session %d is led from outside of the tree: use --shell-job (-j), or dump the session leader",
				       s->pid, s->comm, s->sid);
	}
	return 0;
}

static int in_task(int err, const struct dump_task *t)
{
	return err_ctx(err, "task %d (%s)", t->pid, t->stat.comm);
}

static int enlist_all(struct dump *d)
{
	size_t n = d->seized->n_tasks;

	d->kinds.tasks = arena_alloc(d->kinds.a, n * sizeof(*d->kinds.tasks));
	d->tasks = arena_alloc(d->kinds.a, n * sizeof(*d->tasks));
	for (size_t i = 0; i < n; i++) {
		const struct seize_task *s = seized(d, i);
		size_t at = d->kinds.ntasks;
		int err;

		if (s->state == SEIZE_ZOMBIE) {
			task_core(d, add_core(d, add_task(d, s)), s);
			continue;
		}
		d->tasks[at].track = (struct track){ .uffd = -1, .lease = { .sock = -1, .uffd = -1 } };
		d->kinds.ntasks++;
		err = in_task(enlist_task(d, &d->tasks[at], &d->kinds.tasks[at], s), &d->kinds.tasks[at]);
		if (err < 0)
			return err;
	}
	hands_list(d);
	return 0;
}

static int task_facts(struct dump *d, size_t i)
{
	struct dtask *k = &d->tasks[i];
	int err = namespaces_dump(d, k);

	if (err >= 0)
		err = check_shared(d, i);
	if (err >= 0)
		err = track_find(d, k);
	return in_task(err, k->t);
}

static int read_all(struct dump *d)
{
	struct crew *crew = outside_look(d);
	int err = hands_threads(d, facts_held);

	if (err < 0) {
		crew_cancel(crew);
		return err;
	}
	err = crew_finish(crew);
	if (err >= 0)
		err = leftover_clear(d);
	return err < 0 ? err : outside_look_on(d, FLAGS_BESIDE_QUESTIONS);
}

int facts_see(struct dump *d)
{
	int err = xsave_layout_read(&d->xsave);

	if (err >= 0)
		err = enlist_all(d);
	return err < 0 ? err : read_all(d);
}

int facts_collect(struct dump *d)
{
	int err = check_session(d);

	if (err >= 0)
		err = namespaces_init(d);
	if (err >= 0)
		err = facts_see(d);
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = task_facts(d, i);
	for (size_t i = 0; err >= 0 && i < d->hands.n_threads; i++)
		err = check_status(d->hands.thread[i]->th);
	return err;
}

static int begin_again(struct dump *d, struct dthread *th, struct arena *a)
{
	struct user_regs_struct regs = th->regs;
	struct proc_status now;

	(void)d;
	if (th->in_blob || !regs_begin_again(&regs))
		return 0;
	if (!proc_status_read(th->task->t->proc_fd, th->th->tid, a, &now) && !signals_wait(&now))
		(void)!ptrace_set_regs(th->th->tid, &regs);
	return 0;
}

/* In the image these calls start again. So they do in a tree that goes on; but a signal may have come meanwhile. */
void facts_begin_again(struct dump *d)
{
	(void)!hands_threads(d, begin_again);
}

void facts_done(struct dump *d)
{
	for (size_t i = 0; d->kinds.tasks && i < d->kinds.ntasks; i++)
		close_fd(&d->kinds.tasks[i].pidfd);
}
