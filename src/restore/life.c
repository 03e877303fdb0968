/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a task as a program, from fork to sigreturn.
 *
 *   birth     (birth.c) session and group, children
 *   memory    (memory.c), and children that share it (heritage.c)
 *   end of birth  groups, zombies, helpers
 *   files     descriptors to their numbers, the rest closed
 *   nature    what the task kinds emit, threads, what each thread is
 *   end       the vdso moves, commit, sigreturn
 */
#include <stdlib.h>
#include <sys/syscall.h>

#include "arch/x86_64/sigframe.h"
#include "restore/gpu_restore.h"
#include "restore/rt.h"

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
	struct pie_threads *all;
	uint64_t va;

	if (t->ncores < 2)
		return 0;
	all = prog_alloc(&r->space, sizeof(*all) + (t->ncores - 1) * sizeof(*all->thread), &va);
	all->n = (uint32_t)t->ncores - 1;
	for (size_t k = 1; k < t->ncores; k++) {
		struct prog q = prog_begin(&r->space);
		int err = emit_thread_kinds(r, t, k, &q);

		if (err < 0)
			return err_ctx(err, "thread %u", t->pst->threads[k]);
		task->frames_va[k] = sigframe_build(&r->space, &r->kinds.own.xsave, t->cores[k]);
		prog_do(&q, OP_COMMIT, 0);
		prog_do(&q, OP_SIGRETURN, task->frames_va[k]);
		all->thread[k - 1] = (struct pie_thread){ q.start_va, layout_thread_stack(&r->lay, k),
						 (int32_t)t->pst->threads[k], 0 };
	}
	prog_label(p, "create %zu threads", t->ncores - 1);
	prog_do(p, OP_THREADS, va);
	return 0;
}

static int emit_alive(struct restore *r, struct rtask *k, size_t *first, struct prog *p)
{
	const struct snap_task *t = k->t;
	int err;

	k->frames_va = arena_alloc(r->kinds.a, t->ncores * sizeof(*k->frames_va));
	err = rmemory_emit(r, k, p);
	if (err < 0)
		return err;
	birth_emit_heirs(r, k, p);
	rmemory_emit_protection(t, p);
	birth_emit_end(r, k, p);
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
	k->frames_va[0] = sigframe_build(&r->space, &r->kinds.own.xsave, t->cores[0]);
	prog_label(p, "wait for the commit");
	prog_do(p, OP_COMMIT, 0);
	prog_do(p, OP_SIGRETURN, k->frames_va[0]);
	return 0;
}

static int assemble(struct restore *r, struct rtask *k, size_t *first)
{
	struct prog p = prog_begin(&r->space);

	k->start_va = p.start_va;
	birth_emit(r, k, &p);
	if (k->role == RTASK_ALIVE)
		return emit_alive(r, k, first, &p);
	birth_emit_heirs(r, k, &p);
	birth_emit_end(r, k, &p);
	birth_emit_death(r, k, &p);
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

	fill_budget(r);

	/* backwards: a creator's program holds the start of those it creates */
	for (size_t i = r->tree.n; i-- > 0;) {
		struct rtask *k = r->tree.tasks[i];
		int err = assemble(r, k, first);

		if (err < 0)
			return err_ctx(err, "task %d (%s)", k->pid, k->t ? snap_comm(k->t) : "stand-in");
	}
	r->board->expected = (uint32_t)r->tree.nthreads;
	for (size_t i = 0; gpu_restore_left(r) && i < r->tree.n; i++) /* a task's GPU work begins when it stands */
		r->board->task[i].expected = r->tree.tasks[i]->t ? (uint32_t)r->tree.tasks[i]->t->ncores : 0;
	r->board->barrier[BARRIER_BORN].expected = (uint32_t)r->tree.n;
	r->board->barrier[BARRIER_GROUPED].expected = (uint32_t)r->tree.n;
	return prog_space_full(&r->space);
}
