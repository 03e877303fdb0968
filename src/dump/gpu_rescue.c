/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUDA processes get back to where they were (gpu_rescue.h). Runs in the engine, or, when that was killed, in the
 * process that waited for it.
 *
 * For each process: ask its state, start the step that leads on from there, wait, ask again. A step may fail because
 * another is still at work in the driver (that of a killed engine): it is tried again until the time is over. So is a
 * connection that broke: the agent that is started anew knows nothing, the driver knows all.
 */
#include "dump/gpu_rescue.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/trace.h"
#include "dump/gpu_lend.h"
#include "kern/ptrace.h"

/* For steps that fail: another may be at work for as long as a large GPU takes, unless the driver hangs. */
static const uint64_t PATIENCE_NS = 120000000000u, HUNG_NS = 10000000000u;

enum { TICK_MS = 2, STEP_MS = 120000, AGAIN_NS = 50000000 };

struct patient {
	struct gpu_ledger_row *row;
	bool done, busy;
	uint32_t ticket;
	uint64_t not_before_ns, give_up_ns; /* the next try, and the last */
};

struct rescue {
	struct gpu_ledger *l;
	struct gpu_client *c;
	struct patient p[GPU_LEDGER_ROWS];
};

struct gpu_ledger *gpu_rescue_ledger(const char *socket)
{
	struct gpu_ledger *l =
		mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (l == MAP_FAILED) {
		(void)err_set(errno, "share a list of GPU work with the engine's process");
		return NULL;
	}
	l->socket = socket;
	return l;
}

static void settle(struct patient *p)
{
	p->done = true;
	p->row->touched = false;
}

/* What could not be done now may be later; when time is over it is said, and what the user can do. */
static void try_later(struct patient *p)
{
	uint64_t now = trace_now_ns();

	p->not_before_ns = now + AGAIN_NS;
	if (kill(p->row->pid, 0) < 0 && errno == ESRCH) {
		settle(p);
		return;
	}
	if (!p->give_up_ns)
		p->give_up_ns = now + (p->row->hung ? HUNG_NS : PATIENCE_NS);
	if (now < p->give_up_ns)
		return;
	p->done = true;
	log_warn("task %d (%s): its GPU state was not put back: %s; `thaw cuda` can do it: --action restore, then unlock",
		 p->row->pid, p->row->comm, err_text());
}

static int begin(struct rescue *r, struct patient *p, enum gpu_step step)
{
	int err = step == GPU_RESTORE && p->row->payload[0] ?
		gpu_lend_rescue(r->c, p->row, STEP_MS, &p->ticket) :
		gpu_client_start(r->c, step, p->row->pid, STEP_MS, NULL, &p->ticket);

	p->busy = err >= 0;
	return err;
}

static int take_step(struct rescue *r, struct patient *p)
{
	enum gpu_state state = GPU_NONE;
	int err = gpu_client_state(r->c, p->row->pid, &state);

	if (err < 0)
		return err;
	if (state == GPU_CHECKPOINTED)
		return begin(r, p, GPU_RESTORE);
	if (state == GPU_LOCKED && p->row->found == GPU_RUNNING)
		return begin(r, p, GPU_UNLOCK);
	if (state == GPU_CHECKPOINTING || state == GPU_RESTORING)
		return err_say(EBUSY, "the driver still lends its GPU memory");
	if (state == GPU_FAILED)
		return err_say(EIO, "the driver says that it has failed");
	log_info("task %d (%s): its GPU state is as before", p->row->pid, p->row->comm);
	settle(p);
	return 0;
}

/* One look at a process; -EPIPE: the agent is gone. */
static int treat(struct rescue *r, struct patient *p)
{
	int err = 0;

	if (p->busy && !gpu_client_done(r->c, p->ticket))
		return 0;
	if (p->busy) {
		p->busy = false;
		err = gpu_client_wait(r->c, p->ticket, NULL);
		if (err >= 0)
			p->give_up_ns = 0;
	}
	if (err >= 0 && trace_now_ns() >= p->not_before_ns)
		err = take_step(r, p);
	if (err < 0)
		try_later(p);
	return err;
}

static void reconnect(struct rescue *r)
{
	for (size_t i = 0; i < r->l->n; i++)
		r->p[i].busy = false;
	gpu_client_close(r->c);
	r->c = NULL;
}

static size_t round_of(struct rescue *r)
{
	size_t left = 0;
	int err = r->c ? 0 : gpu_client_open(r->l->socket, &r->c);

	for (size_t i = 0; i < r->l->n; i++) {
		struct patient *p = &r->p[i];

		if (p->done)
			continue;
		if (err >= 0)
			err = treat(r, p) == -EPIPE ? -EPIPE : 0;
		else
			try_later(p);
		left += !p->done;
	}
	if (err < 0)
		reconnect(r);
	return left;
}

/* The engine was killed while it held signals back from the driver's thread. */
static void unmask(const struct gpu_ledger_row *row)
{
	struct ptrace_stop stop;
	int err = row->masked_tid ? ptrace_seize(row->masked_tid, 0) : -ESRCH;

	if (err < 0)
		return;
	err = ptrace_interrupt(row->masked_tid);
	if (err >= 0)
		err = ptrace_wait_stop(row->masked_tid, trace_now_ns() + STEP_MS * UINT64_C(1000000), &stop);
	if (err >= 0)
		err = ptrace_set_sigmask(row->masked_tid, row->mask);
	if (err >= 0 && ptrace_detach(row->masked_tid, 0) >= 0)
		log_info("task %d (%s): thread %d takes signals again", row->pid, row->comm, row->masked_tid);
}

void gpu_rescue(struct gpu_ledger *l, void (*tend)(void *arg), void *arg)
{
	struct rescue *r = calloc(1, sizeof(*r));
	size_t touched = 0;

	if (!r)
		return;
	r->l = l;
	for (size_t i = 0; i < l->n; i++) {
		r->p[i] = (struct patient){ .row = &l->row[i], .done = !l->row[i].touched };
		touched += l->row[i].touched;
	}
	if (touched)
		log_info("putting back the GPU state of %zu tasks", touched);
	while (touched && round_of(r)) {
		struct pollfd fd = { .fd = r->c ? gpu_client_fd(r->c) : -1, .events = POLLIN };

		poll(&fd, 1, TICK_MS);
		if (tend)
			tend(arg);
	}
	gpu_client_close(r->c);
	free(r);
}

int gpu_rescue_orphans(struct gpu_ledger *l, int err)
{
	char why[512];

	snprintf(why, sizeof(why), "%s", err_text());
	gpu_rescue(l, NULL, NULL);
	for (size_t i = 0; i < l->n; i++)
		unmask(&l->row[i]);
	return err_adopt(-err, why);
}
