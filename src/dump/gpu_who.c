/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom the driver works for (gpu_dump.h): found by what tasks map, counted when the driver has said that they have GPU
 * state, and looked for once more behind the locks, since the tree ran meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "dump/gpu_dump.h"

static int in_task(int err, const struct seize_task *t)
{
	return err_ctx(err, "task %d (%s)", t->pid, t->comm);
}

static int add_proc(struct dump *d, const struct seize_task *t, const struct gpu_traces *traces, struct kcmp_set *set)
{
	struct gpu_dump *g = d->gpu;
	struct gpu_proc *p;
	int err;

	if (g->n == GPU_LEDGER_ROWS)
		return err_say(E2BIG, "more than %d CUDA processes in one tree", GPU_LEDGER_ROWS);
	if (t->state == SEIZE_STOPPED)
		return err_say(EBUSY, "it is a stopped CUDA process, in which the driver cannot work: send it SIGCONT first");
	p = &g->v[g->n];
	*p = (struct gpu_proc){ .pid = t->pid, .traces = *traces, .comm = arena_strdup(d->kinds.a, t->comm),
				.row = &d->ledger->row[g->n], .payload_fd = -1 };
	*p->row = (struct gpu_ledger_row){ .pid = t->pid };
	snprintf(p->row->comm, sizeof(p->row->comm), "%.15s", t->comm);
	d->ledger->n = (uint32_t)++g->n;
	err = gpu_heirs_note(d, set, t, p);
	return err < 0 ? err : maps_read(t->proc_fd, MAPS_PLAIN, d->kinds.a, &p->maps, &p->nmaps);
}

/* Fills d->gpu->v; *ret_dev is one that holds a device. */
static int find_procs(struct dump *d, struct kcmp_set *set, const struct seize_task **ret_dev)
{
	for (size_t i = 0; i < d->seized->n_tasks; i++) {
		const struct seize_task *t = d->seized->tasks[i];
		struct gpu_traces traces;
		int err = gpu_find_traces(d->kinds.a, t, &traces);

		if (err >= 0 && traces.lib && !d->gpu->v)
			d->gpu->v = arena_alloc(d->kinds.a, d->seized->n_tasks * sizeof(*d->gpu->v));
		if (err >= 0 && traces.lib)
			err = add_proc(d, t, &traces, set);
		if (traces.lib && traces.dev)
			*ret_dev = t;
		if (err < 0)
			return in_task(err, t);
	}
	return 0;
}

int gpu_who_find(struct dump *d, const struct seize_task **ret_dev)
{
	struct kcmp_set *set = kcmp_set_new(d->kinds.a);
	int err = find_procs(d, set, ret_dev);

	kcmp_set_free(set);
	return err;
}

/* --- asked, while the tree runs --------------------------------------------------------------------- */

/* Only to refuse a restore early: without it a dump is as good. */
static void ask_spare(struct dump *d, struct gpu_proc *p)
{
	struct gpu_spares *spares = arena_alloc(d->kinds.a, sizeof(*spares));
	auto_free char *text = NULL;
	int err = gpu_client_spare(d->gpu->client, p->pid, &text);

	if (err >= 0)
		err = gpu_spare_read(text, spares);
	if (err >= 0)
		p->spares = spares;
	else
		log_info("task %d (%s): %s", p->pid, p->comm, err_text());
}

static int ask_state(struct dump *d, struct gpu_proc *p)
{
	int err = gpu_client_state(d->gpu->client, p->pid, &p->found);

	if (err < 0)
		return err;
	p->row->found = p->found;
	if (p->found == GPU_CHECKPOINTING || p->found == GPU_RESTORING)
		return err_say(EBUSY, "the driver lends its GPU memory to somebody: a checkpoint or restore is under way");
	if (p->found == GPU_FAILED)
		return err_say(EIO, "the driver says that its last checkpoint or restore has failed: it cannot be dumped");
	if (p->found == GPU_NONE)
		return 0;
	err = gpu_client_restore_tid(d->gpu->client, p->pid, &p->tid);
	if (err >= 0)
		err = gpu_heirs_age(p);
	if (err >= 0 && p->found != GPU_CHECKPOINTED)
		ask_spare(d, p);
	return err < 0 || p->found == GPU_CHECKPOINTED ? err : gpu_marks_check(d, p);
}

/* 1: it counts; 0: it has no GPU state. */
static int judge(struct dump *d, const struct gpu_proc *p)
{
	struct gpu_dump *g = d->gpu;

	if (p->found != GPU_NONE)
		return 1;
	if (p->traces.dev && !gpu_heirs_is(g, p))
		return err_say(EBUSY, "it holds /dev/nvidia* but has no state that the driver could save: it is just "
			       "starting to use CUDA (try again), or it has the descriptors of a process that is gone or not "
			       "in this tree (let it close them)");
	if (p->traces.dev)
		proc_pid_push(d->kinds.a, &g->heirs, &g->n_heirs, p->pid);
	return 0;
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

int gpu_who_ask(struct dump *d)
{
	struct gpu_dump *g = d->gpu;

	for (size_t i = 0; i < g->n; i++) {
		int err = ask_state(d, &g->v[i]);

		if (err < 0)
			return err_ctx(err, "task %d (%s): GPU state", g->v[i].pid, g->v[i].comm);
	}
	for (size_t i = g->n; i-- > 0;) { /* backwards: drop() moves what is behind */
		int r = judge(d, &g->v[i]);

		if (r < 0)
			return err_ctx(r, "task %d (%s): GPU state", g->v[i].pid, g->v[i].comm);
		if (!r)
			drop(d, i);
	}
	return 0;
}

/* --- the same ones, when it stands again ----------------------------------------------------------- */

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
int gpu_who_check(struct dump *d)
{
	for (size_t i = 0; i < d->gpu->n; i++)
		if (!gpu_find_task(d->seized, d->gpu->v[i].pid))
			return err_say(EAGAIN, "task %d (%s) has ended meanwhile: try again", d->gpu->v[i].pid,
				       d->gpu->v[i].comm);
	for (size_t i = 0; i < d->seized->n_tasks; i++) {
		const struct seize_task *t = d->seized->tasks[i];
		struct gpu_traces traces;
		int err = gpu_find_traces(d->kinds.a, t, &traces);

		if (err >= 0 && traces.lib && !is_known(d->gpu, t->pid))
			err = err_say(EAGAIN, "it has begun to use CUDA just now: try again");
		if (err < 0)
			return in_task(err, t);
	}
	return 0;
}
