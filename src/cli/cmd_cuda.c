/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw cuda: one step on one CUDA process, with the words and exit codes of NVIDIA's
 * cuda-checkpoint, for scripts and for programs that call it.
 */
#include <stdio.h>

#include "cli/cmd.h"
#include "gpu/gpu_client.h"
#include "gpu/gpu_words.h"

static int state_get(struct gpu_client *c, pid_t pid, enum gpu_state *ret)
{
	int r = gpu_client_state(c, pid, ret);

	if (r >= 0 && *ret == GPU_NONE)
		return err_say(ESRCH, "process %d is no CUDA process, or has not finished cuInit()", pid);
	return r;
}

static int state_print(struct gpu_client *c, pid_t pid)
{
	enum gpu_state state;
	int r = state_get(c, pid, &state);

	if (r >= 0)
		puts(gpu_state_name(state));
	return r;
}

static int tid_print(struct gpu_client *c, pid_t pid)
{
	pid_t tid;
	int r = gpu_client_restore_tid(c, pid, &tid);

	if (r >= 0)
		printf("%d\n", tid);
	return r;
}

static int step(struct gpu_client *c, const struct opts *o, enum gpu_step which)
{
	struct gpu_map map = { .n = 0 };
	uint32_t ticket;
	int r = o->device_map ? gpu_map_parse(o->device_map, &map) : 0;

	if (r >= 0)
		r = gpu_client_start(c, which, o->pid, (uint32_t)o->timeout, &map, &ticket);
	return r < 0 ? r : gpu_client_wait(c, ticket, NULL);
}

/* A process that could not be checkpointed goes on, if the driver lets it. */
static int suspend(struct gpu_client *c, const struct opts *o)
{
	char why[512];
	int r = step(c, o, GPU_LOCK);

	if (r < 0)
		return r;
	r = step(c, o, GPU_CHECKPOINT);
	if (r >= 0)
		return 0;
	snprintf(why, sizeof(why), "%s", err_text());
	if (step(c, o, GPU_UNLOCK) < 0)
		return err_say(-r, "%s; it is left as it is (thaw cuda --get-state)", why);
	return err_adopt(-r, why);
}

static int toggle(struct gpu_client *c, const struct opts *o)
{
	enum gpu_state state;
	int r = state_get(c, o->pid, &state);

	if (r < 0)
		return r;
	if (state == GPU_RUNNING)
		return suspend(c, o);
	if (state != GPU_CHECKPOINTED)
		return err_say(EBUSY, "process %d: its CUDA state is %s: only running and checkpointed can be toggled", o->pid,
			       gpu_state_name(state));
	r = step(c, o, GPU_RESTORE);
	return r < 0 ? r : step(c, o, GPU_UNLOCK);
}

int cmd_cuda(const struct opts *o, int *ret_exit)
{
	struct gpu_client *c;
	int r = gpu_client_open(o->gpu_socket, &c);

	(void)ret_exit;
	if (r < 0)
		return r;
	if (o->get_state)
		r = state_print(c, o->pid);
	else if (o->get_restore_tid)
		r = tid_print(c, o->pid);
	else if (o->toggle)
		r = toggle(c, o);
	else
		r = step(c, o, (enum gpu_step)o->action);
	gpu_client_close(c);
	return r;
}
