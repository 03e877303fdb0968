/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw gpu-agent: the agent itself (gpu/gpu_agent.h), or a look at the one that runs.
 *
 * The agent loads the driver's library, so it has to be linked dynamically; thaw is linked statically, so as to start
 * quickly. So there are two programs of the same code, and only thaw-gpu-agent has the agent in it; thaw becomes it.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/progress.h"
#include "cli/cmd.h"
#include "cli/gpu_report.h"
#include "cli/part.h"
#include "gpu/gpu_agent.h"
#include "gpu/gpu_client.h"
#include "gpu/gpu_spawn.h"

#define PROGRAM "thaw-gpu-agent"

#pragma weak gpu_agent_run /* NULL in thaw */

static int agent_join(const struct opts *o, struct gpu_client **ret)
{
	int r = gpu_client_join(o->gpu_socket, ret);

	return r == -ENOENT || r == -ECONNREFUSED ? err_say(-r, "no GPU agent runs here") : r;
}

static int status_print(const struct opts *o)
{
	struct gpu_client *c;
	auto_free char *json = NULL;
	int r = agent_join(o, &c);

	if (r < 0)
		return r;
	r = gpu_client_status(c, &json);
	gpu_client_close(c);
	return r < 0 ? r : gpu_report_print(json, o->json);
}

static int drop(const struct opts *o)
{
	struct gpu_client *c;
	uint64_t bytes = 0;
	char size[32];
	int r = agent_join(o, &c);

	if (r < 0)
		return r;
	r = gpu_client_drop(c, &bytes);
	gpu_client_close(c);
	if (r >= 0)
		printf("gave up %s of GPU memory\n", progress_bytes(size, sizeof(size), bytes));
	return r;
}

static int agent_become(const struct opts *o)
{
	char path[PATH_MAX];
	int r = part_find(PROGRAM, path);

	if (r < 0)
		return r;
	execv(path, o->argv);
	return err_set(errno, "run %s", path);
}

/* Who waits for the agent is told why it does not come. */
static int agent_try(const struct opts *o)
{
	int r = agent_become(o);

	gpu_spawn_tell(o->ready_fd, r);
	return r;
}

int cmd_gpu_agent(const struct opts *o, int *ret_exit)
{
	const struct gpu_agent_opts agent = {
		.socket = o->gpu_socket, .pool_size = o->gpu_pool_size, .idle_s = o->gpu_idle_timeout,
		.ready_fd = o->ready_fd,
	};

	(void)ret_exit;
	if (o->drop)
		return drop(o);
	if (o->status)
		return status_print(o);
	return gpu_agent_run ? gpu_agent_run(&agent) : agent_try(o);
}
