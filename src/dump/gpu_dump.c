/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU stage of a dump (gpu_dump.h). Runs in the engine while the tree is stopped.
 *
 *   look for CUDA processes | let the tree run: states, locks | stop it again, same processes? |
 *   their restore threads run: checkpoint | these are stopped again
 *
 * The first stop only serves the search: in a tree that stands nobody is overlooked, and most trees have no CUDA
 * process and stay stopped. A lock waits for calls in flight, so it needs a tree that runs.
 *
 * A process that somebody else has locked is checkpointed and will be locked again after a restore; one
 * that is checkpointed already is dumped as it is, and restored as that.
 */
#include "dump/gpu_dump.h"

#include <stdio.h>
#include <string.h>

#include "arch/x86_64/regs.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/trace.h"

static int in_task(int err, const struct seize_task *t)
{
	return err_ctx(err, "task %d (%s)", t->pid, t->comm);
}

/* --- who ------------------------------------------------------------------------------------------ */

static int add_proc(struct dump *d, const struct seize_task *t, const struct gpu_traces *traces)
{
	struct gpu_dump *g = d->gpu;
	struct gpu_proc *p;

	if (g->n == GPU_LEDGER_ROWS)
		return err_say(E2BIG, "more than %d CUDA processes in one tree", GPU_LEDGER_ROWS);
	if (t->state == SEIZE_STOPPED)
		return err_say(EBUSY, "it is a stopped CUDA process, in which the driver cannot work: send it SIGCONT first");
	p = &g->v[g->n];
	*p = (struct gpu_proc){ .pid = t->pid, .dev = traces->dev, .minors = traces->minors,
				.comm = arena_strdup(d->kinds.a, t->comm), .row = &d->ledger->row[g->n] };
	*p->row = (struct gpu_ledger_row){ .pid = t->pid };
	snprintf(p->row->comm, sizeof(p->row->comm), "%.15s", t->comm);
	d->ledger->n = (uint32_t)++g->n;
	return maps_read(t->proc_fd, MAPS_PLAIN, d->kinds.a, &p->maps, &p->nmaps);
}

/* Fills d->gpu->v; *ret_dev is one that holds a device. */
static int find_all(struct dump *d, const struct seize_task **ret_dev)
{
	for (size_t i = 0; i < d->seized->n_tasks; i++) {
		const struct seize_task *t = d->seized->tasks[i];
		struct gpu_traces traces;
		int err = gpu_find_traces(t, &traces);

		if (err >= 0 && traces.lib && !d->gpu->v)
			d->gpu->v = arena_alloc(d->kinds.a, d->seized->n_tasks * sizeof(*d->gpu->v));
		if (err >= 0 && traces.lib)
			err = add_proc(d, t, &traces);
		if (traces.lib && traces.dev)
			*ret_dev = t;
		if (err < 0)
			return in_task(err, t);
	}
	return 0;
}

/* Without a driver a process may still map libcuda, as long as it has no GPU. */
static int connect_agent(struct dump *d, const struct seize_task *dev)
{
	int err = gpu_client_open(d->ledger->socket, &d->gpu->client);

	if ((err == -ENOENT || err == -ENOTSUP) && !dev) {
		log_info("%zu tasks map libcuda but have no GPU: %s", d->gpu->n, err_text());
		d->gpu->n = d->ledger->n = 0;
		return 0;
	}
	return err < 0 && dev ? in_task(err, dev) : err;
}

/* --- locked, in a tree that runs ------------------------------------------------------------------ */

/* A call that our stop has ended starts again, as in facts_begin_again(), for which it is too early. */
static void let_tree_run(struct dump *d)
{
	for (size_t i = 0; i < d->seized->n_tasks; i++)
		for (size_t k = 0; k < d->seized->tasks[i]->n_tids; k++) {
			pid_t tid = d->seized->tasks[i]->tids[k];
			struct user_regs_struct regs;

			if (!ptrace_get_regs(tid, &regs) && regs_begin_again(&regs))
				(void)!ptrace_set_regs(tid, &regs);
		}
	seize_release(d->seized, 0);
	d->seized = NULL;
}

/* 1: it counts; 0: it has no GPU state. */
static int ask_state(struct dump *d, struct gpu_proc *p)
{
	int err = gpu_client_state(d->gpu->client, p->pid, &p->found);

	if (err < 0)
		return err;
	p->row->found = p->found;
	if (p->found == GPU_NONE && p->dev)
		return err_say(EBUSY, "it holds /dev/nvidia* but has no state that the driver could save: it is just "
			       "starting to use CUDA (try again), or it was forked by a process that uses CUDA and has its "
			       "descriptors (let it close them, or start it before)");
	if (p->found == GPU_NONE)
		return 0;
	if (p->found == GPU_FAILED)
		return err_say(EIO, "the driver says that its last checkpoint or restore has failed: it cannot be dumped");
	err = gpu_client_restore_tid(d->gpu->client, p->pid, &p->tid);
	return err < 0 ? err : 1;
}

static void drop(struct dump *d, size_t i)
{
	struct gpu_dump *g = d->gpu;

	proc_pid_push(d->kinds.a, &g->none, &g->n_none, g->v[i].pid);
	g->n--;
	for (; i < g->n; i++) {
		g->v[i] = g->v[i + 1];
		g->v[i].row = &d->ledger->row[i];
		*g->v[i].row = d->ledger->row[i + 1];
	}
	d->ledger->n = (uint32_t)g->n;
}

static int ask_states(struct dump *d)
{
	for (size_t i = 0; i < d->gpu->n;) {
		struct gpu_proc *p = &d->gpu->v[i];
		int r = ask_state(d, p);

		if (r < 0)
			return err_ctx(r, "task %d (%s): GPU state", p->pid, p->comm);
		if (r)
			i++;
		else
			drop(d, i);
	}
	return 0;
}

static bool wants_lock(const struct gpu_proc *p)
{
	return p->found == GPU_RUNNING;
}

static int lock_all(struct dump *d)
{
	uint32_t limit_ms = (uint32_t)d->kinds.opts->timeout * 1000;
	int err = ask_states(d);

	if (err >= 0)
		err = gpu_away_take(d);
	return err < 0 ? err : gpu_steps(d, GPU_LOCK, limit_ms, wants_lock);
}

/* --- checkpointed, in a tree that stands ---------------------------------------------------------- */

static bool is_known(const struct gpu_dump *g, pid_t pid)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].pid == pid)
			return true;
	for (size_t i = 0; i < g->n_none; i++)
		if (g->none[i] == pid)
			return true;
	return false;
}

/* Nobody was born, and nobody died, between the two stops. */
static int check_same(struct dump *d)
{
	for (size_t i = 0; i < d->gpu->n; i++)
		if (!gpu_find_task(d->seized, d->gpu->v[i].pid))
			return err_say(EAGAIN, "task %d (%s) has ended meanwhile: try again", d->gpu->v[i].pid,
				       d->gpu->v[i].comm);
	for (size_t i = 0; i < d->seized->n_tasks; i++) {
		const struct seize_task *t = d->seized->tasks[i];
		struct gpu_traces traces;
		int err = gpu_find_traces(t, &traces);

		if (err >= 0 && traces.lib && !is_known(d->gpu, t->pid))
			err = err_say(EAGAIN, "it has begun to use CUDA just now: try again");
		if (err < 0)
			return in_task(err, t);
	}
	return 0;
}

static bool wants_checkpoint(const struct gpu_proc *p)
{
	return p->found != GPU_CHECKPOINTED;
}

/*
 * It is the only thread of its process that runs, and it blocks no signals: whatever is sent to the process would be
 * handled in it, while the threads that a handler may wait for stand still. So signals wait until it stands, too.
 */
static int let_run(struct dump *d, struct gpu_proc *p, bool watched)
{
	int err = ptrace_get_sigmask(p->tid, &p->row->mask);

	if (err < 0)
		return err;
	p->row->masked_tid = p->tid;
	err = ptrace_set_sigmask(p->tid, UINT64_MAX);
	if (err >= 0)
		err = seize_let_run(d->seized, p->tid, watched);
	p->runs = err >= 0;
	return err;
}

static int stop_again(struct dump *d, struct gpu_proc *p)
{
	int err = p->runs ? seize_again(d->seized, gpu_find_task(d->seized, p->pid)) : 0;

	p->runs = false;
	if (err >= 0 && p->row->masked_tid)
		err = ptrace_set_sigmask(p->tid, p->row->mask);
	p->row->masked_tid = 0;
	return err;
}

static int start_restore_threads(struct dump *d)
{
	for (size_t i = 0; i < d->gpu->n; i++) {
		struct gpu_proc *p = &d->gpu->v[i];
		bool watched = d->kinds.opts->gpu_prefault &&
			       prefault_begin(&p->prefault, gpu_find_task(d->seized, p->pid), p->tid);
		int err = wants_checkpoint(p) ? let_run(d, p, watched) : 0;

		if (err < 0)
			return err_ctx(err, "task %d (%s): the driver's thread", p->pid, p->comm);
	}
	return 0;
}

static int stop_restore_threads(struct dump *d)
{
	char why[512] = "";
	int first = 0;

	for (size_t i = 0; i < d->gpu->n; i++) {
		struct gpu_proc *p = &d->gpu->v[i];

		if (stop_again(d, p) < 0 && first >= 0) {
			first = -ECANCELED;
			snprintf(why, sizeof(why), "task %d (%s): %s", p->pid, p->comm, err_text());
		}
	}
	return first < 0 ? err_adopt(-first, why) : 0;
}

static int checkpoint_all(struct dump *d)
{
	uint32_t limit_ms = (uint32_t)d->kinds.opts->gpu_timeout * 1000;
	int err = start_restore_threads(d), err2;
	char why[512];

	if (err >= 0)
		err = gpu_steps(d, GPU_CHECKPOINT, limit_ms, wants_checkpoint);
	snprintf(why, sizeof(why), "%s", err < 0 ? err_text() : "");
	err2 = stop_restore_threads(d);
	return err < 0 ? err_adopt(-err, why) : err2;
}

int gpu_dump_checkpoint(struct dump *d)
{
	uint64_t timeout_ns = (uint64_t)d->kinds.opts->timeout * 1000000000u;
	const struct seize_task *dev = NULL;
	int err;

	d->gpu = arena_alloc(d->kinds.a, sizeof(*d->gpu));
	err = find_all(d, &dev);
	if (err < 0 || !d->gpu->n)
		return err;
	err = connect_agent(d, dev);
	if (err < 0 || !d->gpu->n)
		return err;
	let_tree_run(d);
	err = lock_all(d);
	if (err >= 0)
		err = guard_check();
	if (err >= 0)
		err = seize_tree(d->kinds.opts->tree, timeout_ns, d->kinds.a, &d->seized);
	if (err >= 0)
		err = check_same(d);
	if (err >= 0)
		err = checkpoint_all(d);
	if (err >= 0)
		log_info("%zu CUDA processes are checkpointed, %zu tasks only map libcuda", d->gpu->n, d->gpu->n_none);
	return err;
}

/* --- and back ------------------------------------------------------------------------------------- */

void gpu_dump_give_back(struct dump *d, bool seized)
{
	if (!d->gpu || !d->gpu->n)
		return;
	for (size_t i = 0; seized && i < d->gpu->n; i++)
		if (d->ledger->row[i].touched && let_run(d, &d->gpu->v[i], false) < 0)
			log_warn("task %d (%s): %s", d->gpu->v[i].pid, d->gpu->v[i].comm, err_text());
	gpu_rescue(d->ledger, seized ? gpu_steps_tend : NULL, d);
	if (seized && stop_restore_threads(d) < 0)
		log_warn("%s", err_text());
	if (!seized)
		gpu_away_give_back(d);
}

void gpu_dump_done(void *dump)
{
	struct dump *d = dump;

	if (!d->gpu)
		return;
	gpu_away_done(d);
	gpu_client_close(d->gpu->client);
}
