/* SPDX-License-Identifier: Apache-2.0 */
/* A step of the driver on a process (gpu_step.h). */
#include "gpu/gpu_step.h"

#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "gpu/gpu_give.h"
#include "gpu/gpu_lent.h"
#include "gpu/gpu_nodes.h"
#include "gpu/gpu_room.h"
#include "gpu/gpu_words.h"

/* Where the work will be: as the map says, as the process has it open, or (not to be known from outside) anywhere. */
static struct gpu_want want_for(const struct gpu_driver *d, const struct gpu_request *q)
{
	struct gpu_want want = { .pid = q->pid, .gpus = gpu_nodes_open(d, q->pid) };

	for (size_t i = 0; i < d->n; i++)
		for (size_t k = 0; k < q->n_pairs; k++)
			if (!memcmp(d->device[i].uuid, q->pair[k].to, GPU_UUID_LEN))
				want.gpus |= 1u << i;
	if (!want.gpus) {
		want.gpus = (uint32_t)((UINT64_C(1) << d->n) - 1);
		want.if_free = d->n > 1;
	}
	return want;
}

/* A step needs nothing of the slot but that the context is there: without one it takes longer, no more. */
static void slots_acquire(struct gpu_jobs *jobs, const struct gpu_request *q, struct gpu_holding *h)
{
	struct gpu_want want = want_for(jobs->driver, q);

	if (gpu_pools_acquire(jobs->pools, &want, h) < 0)
		log_warn("%s", err_text());
}

/* What the agent itself holds of the GPUs may be just what is missing. */
static int restore_again(struct gpu_jobs *jobs, const struct gpu_request *q, const struct gpu_map *map)
{
	enum gpu_state state;
	int r = gpu_driver_state(jobs->driver, q->pid, &state);

	if (r < 0)
		return r;
	if (state != GPU_CHECKPOINTED)
		return err_say(ENOMEM, "process %d: there is not enough GPU memory to restore it, and its CUDA state is %s now",
			       q->pid, gpu_state_name(state));
	log_warn("process %d: GPU memory is full: the context pools are given up for it, and all that is kept", q->pid);
	gpu_give_all(jobs->keep);
	gpu_pools_give_up(jobs->pools);
	return gpu_driver_step(jobs->driver, GPU_RESTORE, q->pid, q->timeout_ms, map, NULL);
}

static int plain_run(struct gpu_jobs *jobs, const struct gpu_request *q, enum gpu_step step, const struct gpu_map *map)
{
	struct gpu_holding holding = { 0 };
	int r;

	if (step == GPU_CHECKPOINT || step == GPU_RESTORE)
		slots_acquire(jobs, q, &holding);
	if (step == GPU_RESTORE)
		gpu_room_make(jobs->keep, q->pid);
	r = gpu_driver_step(jobs->driver, step, q->pid, q->timeout_ms, map, NULL);
	gpu_pools_release(jobs->pools, &holding);
	return r;
}

/* The agent copies: it needs a context and buffers on each GPU, and a restore the room. */
static int lent_run(struct gpu_jobs *jobs, const struct gpu_request *q, int payload_fd, const struct gpu_map *map)
{
	bool restores = q->op == GPU_OP_STEP + GPU_RESTORE;
	const struct gpu_driver *d = jobs->driver;
	struct gpu_want want = want_for(d, q);
	struct gpu_holding holding;
	const struct gpu_lent l = { d, &holding, q->pid, payload_fd, map, q->doomed };
	struct stat st;
	int r = d->api.operation_complete ? 0 : err_say(ENOTSUP, "the NVIDIA driver here does not lend GPU memory");

	want.buffers = true;
	want.if_free = false;
	for (size_t i = 0; restores && i < d->n && !fstat(payload_fd, &st); i++)
		gpu_give_room(jobs->keep, i, (uint64_t)st.st_size, "a process needs the room");
	if (r >= 0)
		r = gpu_pools_acquire(jobs->pools, &want, &holding);
	if (r < 0)
		return r;
	r = restores ? gpu_lent_restore(&l) : gpu_lent_checkpoint(&l);
	gpu_pools_release(jobs->pools, &holding);
	return r == 1 ? plain_run(jobs, q, GPU_CHECKPOINT, map) : r;
}

int gpu_step_run(struct gpu_jobs *jobs, const struct gpu_request *q, int payload_fd)
{
	enum gpu_step step = (enum gpu_step)(q->op - GPU_OP_STEP);
	struct gpu_map map = { .n = q->n_pairs };
	int r;

	memcpy(map.pair, q->pair, q->n_pairs * sizeof(q->pair[0]));
	if (payload_fd >= 0)
		return lent_run(jobs, q, payload_fd, &map);
	r = plain_run(jobs, q, step, &map);
	return r == -ENOMEM && step == GPU_RESTORE ? restore_again(jobs, q, &map) : r;
}
