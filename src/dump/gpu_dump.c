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
#include "dump/gpu_lend.h"

/* Without a driver a process may still map libcuda, as long as it has no GPU. */
static int connect_agent(struct dump *d, const struct seize_task *dev)
{
	int err = gpu_client_open(d->ledger->socket, &d->gpu->client);

	if ((err == -ENOENT || err == -ENOTSUP) && !dev) {
		log_info("%zu tasks map libcuda but have no GPU: %s", d->gpu->n, err_text());
		d->gpu->n = d->ledger->n = 0;
		return 0;
	}
	return err < 0 && dev ? err_ctx(err, "task %d (%s)", dev->pid, dev->comm) : err;
}

/* --- locked, in a tree that runs ------------------------------------------------------------------ */

static int begin_again(void *ctx, pid_t tid)
{
	struct user_regs_struct regs;

	(void)ctx;
	if (!ptrace_get_regs(tid, &regs) && regs_begin_again(&regs))
		(void)!ptrace_set_regs(tid, &regs);
	return 0;
}

/* A call that our stop has ended starts again, as in facts_begin_again(), for which it is too early. */
static void let_tree_run(struct dump *d)
{
	(void)!seize_each(d->seized, begin_again, NULL);
	seize_release(d->seized, 0);
	d->seized = NULL;
}

static bool wants_lock(const struct gpu_proc *p)
{
	return p->found == GPU_RUNNING;
}

static int lock_all(struct dump *d)
{
	uint32_t limit_ms = (uint32_t)d->kinds.opts->timeout * 1000;
	int err = gpu_who_ask(d);

	if (err >= 0)
		err = gpu_away_take(d);
	return err < 0 ? err : gpu_steps(d, GPU_LOCK, limit_ms, wants_lock);
}

/* --- checkpointed, in a tree that stands ---------------------------------------------------------- */

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
		bool watched = d->kinds.opts->gpu_prefault && p->payload_fd < 0 &&
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
	int err = gpu_lend_prepare(d, wants_checkpoint), err2;
	char why[512];

	if (err >= 0)
		err = start_restore_threads(d);

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
	err = gpu_who_find(d, &dev);
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
		err = seize_tree(d->kinds.opts->tree, timeout_ns, 1, d->kinds.a, &d->seized);
	if (err >= 0)
		err = gpu_who_check(d);
	if (err >= 0)
		err = checkpoint_all(d);
	if (err >= 0)
		log_info("%zu CUDA processes are checkpointed, %zu tasks only map libcuda, %zu of them with what they have "
			 "inherited", d->gpu->n, d->gpu->n_none, d->gpu->n_heirs);
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
	gpu_lend_done(d);
	gpu_client_close(d->gpu->client);
}
