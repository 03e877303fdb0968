/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a task as a program, from fork to sigreturn.
 *
 *   birth     session and group, children, the two group barriers, zombies, helpers
 *   memory    (memory.c)
 *   files     descriptors to their numbers, the rest closed
 *   nature    what the task kinds emit, threads, what each thread is
 *   end       the vdso moves, commit, sigreturn
 *
 * Signals stay blocked all the way, but for SIGCHLD until the zombies are dead:
 * with its default action an unblocked SIGCHLD vanishes at once, a blocked one
 * would wait for the restored program.
 */
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>

#include "arch/x86_64/sigframe.h"
#include "restore/rt.h"

static const uint64_t TASK_TOP = 0x7ffffffff000;

static uint64_t mask_data(struct restore *r, uint64_t mask)
{
	return prog_data(&r->space, &mask, sizeof(mask));
}

static void emit_mask(struct restore *r, struct prog *p, uint64_t mask)
{
	prog_label(p, "block signals");
	prog_sys(p, SYS_rt_sigprocmask, SIG_SETMASK, mask_data(r, mask), 0, sizeof(mask));
}

/* The root is a fork of the engine: it sheds the engine's memory, its libc's registrations and its signal actions. */
static void emit_shed(struct restore *r, struct prog *p)
{
	const struct layout *l = &r->lay;
	const uint64_t dfl[4] = { 0 };
	struct sigaction sa;

	prog_label(p, "unregister the engine's rseq area");
	if (__rseq_size)
		prog_try(p, SYS_rseq, (uint64_t)((char *)__builtin_thread_pointer() + __rseq_offset), 32,
			 1 /* UNREGISTER */, RSEQ_SIG);
	prog_label(p, "reset the engine's robust list");
	prog_sys(p, SYS_set_robust_list, 0, 24);
	for (int sig = 1; sig < 65; sig++)
		if (sigaction(sig, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL) {
			prog_label(p, "reset signal %d", sig);
			prog_sys(p, SYS_rt_sigaction, (uint64_t)sig, prog_data(&r->space, dfl, sizeof(dfl)), 0, 8);
		}
	prog_label(p, "park the vdso");
	for (size_t i = 0; i < l->npieces; i++)
		prog_sys(p, SYS_mremap, l->vdso_block_va + l->piece[i].off, l->piece[i].len, l->piece[i].len,
			 MREMAP_MAYMOVE | MREMAP_FIXED, l->park_va + l->piece[i].off);
	prog_label(p, "unmap the engine");
	prog_sys(p, SYS_munmap, 0, l->hole_va);
	prog_sys(p, SYS_munmap, l->end_va, TASK_TOP - l->end_va);
}

static void emit_fork(struct restore *r, const struct rtask *k, struct prog *p)
{
	struct pie_fork f = {
		.flags = k->by_sibling ? CLONE_PARENT : 0,
		.start_va = k->start_va,
		.task = k->index,
		.pid = k->pid,
		.exit_signal = SIGCHLD,
	};

	prog_label(p, "create task %d%s", k->pid, k->t ? "" : " (a stand-in for a dead group or session leader)");
	prog_do(p, OP_FORK, prog_data(&r->space, &f, sizeof(f)));
}

static void emit_birth(struct restore *r, const struct rtask *k, struct prog *p)
{
	for (size_t i = 0; i < k->nearly; i++)
		emit_fork(r, k->early[i], p);
	if (k->sid == k->pid) {
		prog_label(p, "make session %d", k->pid);
		prog_sys(p, SYS_setsid, 0);
	} else if (k->pgid == k->pid) {
		prog_label(p, "make process group %d", k->pid);
		prog_sys(p, SYS_setpgid, 0, 0);
	}
	for (size_t i = 0; i < k->nlate; i++)
		emit_fork(r, k->late[i], p);
	prog_do(p, OP_BARRIER, BARRIER_BORN);
	if (k->joins) {
		prog_label(p, "join process group %d", k->pgid);
		prog_sys(p, SYS_setpgid, 0, (uint64_t)k->pgid);
	}
	prog_do(p, OP_BARRIER, BARRIER_GROUPED);
}

/* Zombies are waited for until they are dead, helpers until they are gone. */
static void emit_burials(struct restore *r, const struct rtask *k, struct prog *p)
{
	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *c = r->tree.tasks[i];

		if (c->parent != k || c->role == RTASK_ALIVE)
			continue;
		prog_label(p, "wait for task %d to end", c->pid);
		prog_do(p, c->role == RTASK_ZOMBIE ? OP_ZOMBIE : OP_REAP, (uint64_t)c->pid);
	}
}

static void emit_death(struct restore *r, const struct rtask *k, struct prog *p)
{
	uint32_t code = k->t ? k->t->cores[0]->tc->exit_code : 0;
	const uint64_t no_core[2] = { 0, 0 };

	if (k->t && k->t->cores[0]->tc->comm) {
		char comm[16] = "";

		strncpy(comm, k->t->cores[0]->tc->comm, sizeof(comm) - 1);
		prog_sys(p, SYS_prctl, PR_SET_NAME, prog_data(&r->space, comm, sizeof(comm)));
	}
	if (code & 0x7f) {
		prog_label(p, "end by signal %u", code & 0x7f);
		prog_try(p, SYS_prlimit64, 0, 4 /* RLIMIT_CORE */, prog_data(&r->space, no_core, sizeof(no_core)), 0);
		prog_sys(p, SYS_kill, (uint64_t)k->pid, code & 0x7f);
		emit_mask(r, p, 0);
	}
	prog_do(p, OP_EXIT, code >> 8 & 0xff);
}

static int by_fd(const void *a, const void *b)
{
	const FdinfoEntry *x = *(FdinfoEntry *const *)a, *y = *(FdinfoEntry *const *)b;

	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

static void emit_close_range(struct prog *p, uint32_t from, uint32_t to)
{
	if (from > to)
		return;
	prog_label(p, "close descriptors %u-%u", from, to);
	prog_sys(p, SYS_close_range, from, to, 0);
}

static int emit_descriptors(struct restore *r, const struct snap_task *t, struct prog *p)
{
	FdinfoEntry **fds = arena_memdup(r->kinds.a, t->fds, t->nfds * sizeof(*fds));
	uint32_t next = 0;

	qsort(fds, t->nfds, sizeof(*fds), by_fd);
	for (size_t i = 0; i < t->nfds; i++) {
		int fd = restoring_fd(&r->kinds, fds[i]->id);

		if (fd < 0)
			return err_ctx(fd, "fd %u", fds[i]->fd);
		if (fds[i]->fd > next)
			emit_close_range(p, next, fds[i]->fd - 1);
		next = fds[i]->fd + 1;
		prog_label(p, "place descriptor %u", fds[i]->fd);
		prog_sys(p, SYS_dup3, (uint64_t)fd, fds[i]->fd, fds[i]->flags & 1 /* FD_CLOEXEC */ ? 02000000 : 0);
	}
	emit_close_range(p, next, (uint32_t)r->files.base - 1);
	return 0;
}

/*
 * Kinds whose files need a hand in the task: once for each file, in the first task that
 * holds it. first: by file id, that task's index + 1, or 0 when it is done.
 */
static int emit_files(struct restore *r, const struct snap_task *t, size_t *first, struct prog *p)
{
	for (size_t i = 0; i < t->nfds; i++) {
		const FileEntry *e = snap_file(r->snap, t->fds[i]->id);
		const struct kind_fd *k = e ? kind_fd_of(e->type) : NULL;
		int err;

		if (!k || !k->emit || first[e->id] != t->index + 1)
			continue;
		first[e->id] = 0;
		prog_label(p, "fd %u (%s)", t->fds[i]->fd, k->name);
		err = err_ctx(k->emit(&r->kinds, e, (int)t->fds[i]->fd, p), "fd %u (%s)", t->fds[i]->fd, k->name);
		if (err < 0)
			return err;
	}
	return 0;
}

static int emit_kinds(struct restore *r, const struct snap_task *t, bool late, struct prog *p)
{
	for (size_t i = 0; kind_tasks[i]; i++) {
		const struct kind_task *k = kind_tasks[i];
		int err = 0;

		prog_label(p, "%s", k->name);
		if (late ? k->emit_late != NULL : k->emit != NULL)
			err = (late ? k->emit_late : k->emit)(&r->kinds, t, p);
		if (err < 0)
			return err_ctx(err, "%s", k->name);
	}
	return 0;
}

static int emit_thread_kinds(struct restore *r, const struct snap_task *t, size_t k, struct prog *p)
{
	for (size_t i = 0; kind_tasks[i]; i++) {
		int err = 0;

		prog_label(p, "thread %u: %s", t->pst->threads[k], kind_tasks[i]->name);
		if (kind_tasks[i]->emit_thread)
			err = kind_tasks[i]->emit_thread(&r->kinds, t, k, p);
		if (err < 0)
			return err_ctx(err, "thread %u: %s", t->pst->threads[k], kind_tasks[i]->name);
	}
	return 0;
}

static int emit_threads(struct restore *r, struct rtask *task, struct prog *p)
{
	const struct snap_task *t = task->t;
	struct pie_thread *th;
	uint64_t va;

	if (t->ncores < 2)
		return 0;
	th = prog_alloc(&r->space, (t->ncores - 1) * sizeof(*th), &va);
	for (size_t k = 1; k < t->ncores; k++) {
		struct prog q = prog_begin(&r->space);
		int err = emit_thread_kinds(r, t, k, &q);

		if (err < 0)
			return err_ctx(err, "thread %u", t->pst->threads[k]);
		task->frames_va[k] = sigframe_build(&r->space, &r->xsave, t->cores[k]);
		prog_do(&q, OP_COMMIT, 0);
		prog_do(&q, OP_SIGRETURN, task->frames_va[k]);
		th[k - 1] = (struct pie_thread){ q.start_va, layout_thread_stack(&r->lay, k),
						 (int32_t)t->pst->threads[k], 0 };
	}
	prog_label(p, "create %zu threads", t->ncores - 1);
	prog_do(p, OP_THREADS, va, t->ncores - 1);
	return 0;
}

static int emit_alive(struct restore *r, struct rtask *k, size_t *first, struct prog *p)
{
	const struct snap_task *t = k->t;
	int err;

	k->frames_va = arena_alloc(r->kinds.a, t->ncores * sizeof(*k->frames_va));
	err = rmemory_emit(r, t, p);
	if (err >= 0)
		err = emit_descriptors(r, t, p);
	if (err >= 0)
		err = emit_files(r, t, first, p);
	if (err >= 0)
		err = emit_kinds(r, t, false, p);
	if (err >= 0)
		err = emit_threads(r, k, p);
	if (err >= 0)
		err = emit_kinds(r, t, true, p);
	if (err < 0)
		return err;
	emit_close_range(p, (uint32_t)r->files.base, ~0u);
	err = emit_thread_kinds(r, t, 0, p);
	if (err >= 0)
		err = rmemory_emit_vdso(r, t, p);
	if (err < 0)
		return err;
	k->frames_va[0] = sigframe_build(&r->space, &r->xsave, t->cores[0]);
	prog_label(p, "wait for the commit");
	prog_do(p, OP_COMMIT, 0);
	prog_do(p, OP_SIGRETURN, k->frames_va[0]);
	return 0;
}

static int assemble(struct restore *r, struct rtask *k, size_t *first)
{
	struct prog p = prog_begin(&r->space);
	uint64_t all_but_chld = ~(UINT64_C(1) << (SIGCHLD - 1));

	k->start_va = p.start_va;
	if (!k->index)
		emit_shed(r, &p);
	emit_mask(r, &p, all_but_chld);
	emit_birth(r, k, &p);
	emit_burials(r, k, &p);
	emit_mask(r, &p, ~UINT64_C(0));
	if (k->role == RTASK_ALIVE)
		return emit_alive(r, k, first, &p);
	emit_death(r, k, &p);
	return 0;
}

static size_t *first_holders(const struct restore *r)
{
	size_t *first = arena_alloc(r->kinds.a, r->files.nids * sizeof(*first));

	for (size_t i = 0; i < r->snap->ntasks; i++)
		for (size_t k = 0; k < r->snap->tasks[i]->nfds; k++) {
			uint32_t id = r->snap->tasks[i]->fds[k]->id;

			if (id < r->files.nids && !first[id])
				first[id] = r->snap->tasks[i]->index + 1;
		}
	return first;
}

int life_assemble(struct restore *r)
{
	size_t *first = first_holders(r);

	/* backwards: a creator's program holds the start of those it creates */
	for (size_t i = r->tree.n; i-- > 0;) {
		struct rtask *k = r->tree.tasks[i];
		int err = assemble(r, k, first);

		if (err < 0)
			return err_ctx(err, "task %d (%s)", k->pid, k->t ? snap_comm(k->t) : "stand-in");
	}
	r->board->barrier[BARRIER_BORN].expected = (uint32_t)r->tree.n;
	r->board->barrier[BARRIER_GROUPED].expected = (uint32_t)r->tree.n;
	return prog_space_full(&r->space);
}
