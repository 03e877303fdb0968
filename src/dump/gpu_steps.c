/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of the driver (lock, checkpoint) for many processes at once: all are started, then waited for together.
 * Meanwhile their restore threads are looked after, and the buffers that the driver fills (prefault.h).
 *
 * Nothing here ends a step half-way: it has a time limit of its own, and who gives up earlier would not know in what
 * state it left the process.
 */
#include <poll.h>
#include <stdio.h>

#include "base/log.h"
#include "base/trace.h"
#include "dump/gpu_dump.h"
#include "dump/gpu_lend.h"
#include "gpu/gpu_words.h"

enum { TICK_MS = 1 };

static int begin(struct dump *d, struct gpu_proc *p, enum gpu_step step, uint32_t timeout_ms)
{
	int err;

	p->row->touched = true;
	p->from_ns = trace_now_ns();
	if (step == GPU_CHECKPOINT && p->payload_fd >= 0)
		err = gpu_client_lend(d->gpu->client, step, p->pid, timeout_ms, NULL, p->payload_fd, false, &p->ticket);
	else
		err = gpu_client_start(d->gpu->client, step, p->pid, timeout_ms, NULL, &p->ticket);
	p->busy = err >= 0;
	return err;
}

static int end(struct dump *d, struct gpu_proc *p, enum gpu_step step)
{
	uint64_t driver_ns = 0, now;
	int err = gpu_client_wait(d->gpu->client, p->ticket, &driver_ns);

	p->busy = false;
	if (err >= 0 && step == GPU_CHECKPOINT)
		gpu_lend_settle(p);
	p->row->hung = err == -ETIMEDOUT;
	now = trace_now_ns();
	trace_span(gpu_step_name(step), p->pid, p->pid, p->from_ns, now, 0);
	if (err >= 0)
		log_info("task %d (%s): GPU %s took %.1f ms (driver %.1f ms)", p->pid, p->comm, gpu_step_name(step),
			 (double)(now - p->from_ns) / 1e6, (double)driver_ns / 1e6);
	return err;
}

void gpu_steps_tend(void *dump)
{
	struct dump *d = dump;

	for (size_t i = 0; i < d->gpu->n; i++) {
		struct gpu_proc *p = &d->gpu->v[i];

		int r = p->runs ? seize_tend(d->seized, p->tid) : 0;

		if (r > 0)
			r = prefault_look(&p->prefault);
		if (r < 0)
			p->runs = false; /* the driver's step will fail, and say it */
	}
}

static bool any_busy(const struct gpu_dump *g)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].busy)
			return true;
	return false;
}

/* Those report by SIGCHLD, and often. */
static bool any_watched(const struct gpu_dump *g)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].busy && g->v[i].runs && g->v[i].prefault.watching)
			return true;
	return false;
}

static void keep_first(int *first, char why[512], int err, const struct gpu_proc *p, enum gpu_step step)
{
	if (err >= 0 || *first < 0)
		return;
	*first = err_ctx(err, "task %d (%s): GPU %s", p->pid, p->comm, gpu_step_name(step));
	snprintf(why, 512, "%s", err_text());
}

int gpu_steps(struct dump *d, enum gpu_step step, uint32_t timeout_ms, bool (*wants)(const struct gpu_proc *p))
{
	struct gpu_dump *g = d->gpu;
	struct ptrace_waiter w;
	char why[512] = "";
	int first = 0;

	for (size_t i = 0; first >= 0 && i < g->n; i++)
		if (wants(&g->v[i]))
			keep_first(&first, why, begin(d, &g->v[i], step, timeout_ms), &g->v[i], step);
	ptrace_waiter_begin(&w, UINT64_MAX);
	while (any_busy(g)) {
		struct pollfd fd = { .fd = gpu_client_fd(g->client), .events = POLLIN };

		if (any_watched(g))
			(void)!ptrace_waiter_pause(&w);
		else
			poll(&fd, 1, TICK_MS);
		for (size_t i = 0; i < g->n; i++)
			if (g->v[i].busy && gpu_client_done(g->client, g->v[i].ticket))
				keep_first(&first, why, end(d, &g->v[i], step), &g->v[i], step);
		gpu_steps_tend(d);
	}
	ptrace_waiter_end(&w);
	return first < 0 ? err_adopt(-first, why) : 0;
}
