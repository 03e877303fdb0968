/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver behind the agent (gpu_driver.h).
 *
 * A process without CUDA and one that is just in the middle of cuInit look alike to the driver: it answers
 * "not initialized" or "invalid value" to both.
 */
#include "gpu/gpu_driver.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "gpu/gpu_nodes.h"
#include "gpu/gpu_words.h"

/* The kernel module's release, as it tells it itself: "580.159.04". */
static void release_read(char release[32])
{
	auto_file FILE *f = fopen("/proc/driver/nvidia/version", "re");
	char line[256];

	snprintf(release, 32, "unknown");
	while (f && fgets(line, sizeof(line), f)) {
		const char *word = line;

		for (; (word = strchr(word, ' ')); word++)
			if (sscanf(word, " %31[0-9.]", release) == 1 && strchr(release, '.'))
				return;
	}
	snprintf(release, 32, "unknown");
}

static int device_read(const struct cuda_api *c, int ordinal, struct gpu_device *ret)
{
	struct gpu_device g = { .minor = -1 };
	int r = cuda_check(c, c->device_get(&g.handle, ordinal), "GPU %d", ordinal);

	if (r >= 0)
		r = cuda_check(c, c->device_uuid(g.uuid, g.handle), "GPU %d: UUID", ordinal);
	if (r >= 0)
		r = cuda_check(c, c->device_name(g.name, sizeof(g.name), g.handle), "GPU %d: name", ordinal);
	if (r >= 0)
		r = cuda_check(c, c->device_mem(&g.mem_len, g.handle), "GPU %d: memory", ordinal);
	if (r < 0)
		return r;
	g.name[sizeof(g.name) - 1] = 0;
	if (c->device_bus && c->device_bus(g.bus, sizeof(g.bus), g.handle) == CUDA_OK)
		g.minor = gpu_nodes_minor(g.bus);
	else
		g.bus[0] = 0;
	if (g.minor < 0)
		g.minor = ordinal; /* most likely */
	*ret = g;
	return 0;
}

int gpu_driver_init(struct gpu_driver *d)
{
	const struct cuda_api *c = &d->api;
	int n = 0, r = cuda_check(c, c->init(0), "start the NVIDIA driver");

	if (r >= 0)
		r = cuda_check(c, c->device_count(&n), "count the GPUs");
	if (r < 0)
		return r;
	if (n <= 0)
		return err_say(ENOENT, "the NVIDIA driver knows of no GPU");
	release_read(d->release);
	cuda_api_probe(&d->api);
	log_info("the driver %s", c->operation_complete ? "lends GPU memory at checkpoints, which thaw copies then" :
		 "has no cuCheckpointOperationComplete: it copies GPU memory at checkpoints itself");
	d->n = n < GPU_MOST ? (size_t)n : GPU_MOST;
	for (size_t i = 0; i < d->n && r >= 0; i++) {
		r = device_read(c, (int)i, &d->device[i]);
		if (r >= 0)
			log_info("GPU %zu: %s, %zu MiB", i, d->device[i].name, d->device[i].mem_len >> 20);
	}
	return r;
}

static bool no_cuda(int result)
{
	return result == CUDA_INVALID_VALUE || result == CUDA_NOT_INITIALIZED;
}

int gpu_driver_state(const struct gpu_driver *d, pid_t pid, enum gpu_state *ret)
{
	int state = GPU_NONE, result = d->api.process_state(pid, &state);

	if (result && !no_cuda(result))
		return cuda_check(&d->api, result, "process %d: ask for its CUDA state", pid);
	if (!result && (state < GPU_RUNNING || state > GPU_RESTORING))
		return err_say(EIO, "process %d: the NVIDIA driver answers with the unknown CUDA state %d", pid, state);
	*ret = result ? GPU_NONE : (enum gpu_state)state;
	return 0;
}

int gpu_driver_restore_tid(const struct gpu_driver *d, pid_t pid, pid_t *ret)
{
	int tid = 0, result = d->api.process_tid(pid, &tid);

	if (no_cuda(result))
		return err_say(ESRCH, "process %d is no CUDA process, or has not finished cuInit()", pid);
	if (result)
		return cuda_check(&d->api, result, "process %d: ask for its restore thread", pid);
	*ret = tid;
	return 0;
}

static bool has_gpu(const struct gpu_driver *d, const uint8_t uuid[GPU_UUID_LEN])
{
	for (size_t i = 0; i < d->n; i++)
		if (!memcmp(d->device[i].uuid, uuid, GPU_UUID_LEN))
			return true;
	return false;
}

int gpu_driver_check(const struct gpu_driver *d, const struct gpu_map *map)
{
	char uuid[GPU_UUID_TEXT];

	for (size_t i = 0; i < map->n; i++)
		if (!has_gpu(d, map->pair[i].to))
			return err_say(ENOENT, "%s of the map of GPUs is not here: this machine has %zu GPUs (thaw gpu-agent --status "
				       "lists them)", gpu_uuid_text(map->pair[i].to, uuid), d->n);
	return 0;
}

static int restore_call(const struct cuda_api *c, pid_t pid, const struct gpu_map *map, struct cuda_lent **lent)
{
	struct cuda_gpu_pair pair[GPU_MOST];
	struct cuda_restore args = { .pair = map && map->n ? pair : NULL, .n_pairs = map ? (uint32_t)map->n : 0,
				     .lent = lent };

	for (size_t i = 0; i < args.n_pairs; i++) {
		memcpy(pair[i].from, map->pair[i].from, GPU_UUID_LEN);
		memcpy(pair[i].to, map->pair[i].to, GPU_UUID_LEN);
	}
	return c->process_restore(pid, &args);
}

static int step_call(const struct cuda_api *c, enum gpu_step step, pid_t pid, uint32_t timeout_ms,
		     const struct gpu_map *map, struct cuda_lent **lent)
{
	struct cuda_lock lock = { .timeout_ms = timeout_ms };
	struct cuda_checkpoint checkpoint = { .lent = lent };
	struct cuda_unlock unlock = { 0 };

	switch (step) {
	case GPU_LOCK: return c->process_lock(pid, &lock);
	case GPU_CHECKPOINT: return c->process_checkpoint(pid, &checkpoint);
	case GPU_RESTORE: return restore_call(c, pid, map, lent);
	case GPU_UNLOCK: return c->process_unlock(pid, &unlock);
	}
	return CUDA_INVALID_VALUE;
}

/* What the driver's answer usually means for this step: it says one word for many things. */
static const char *step_hint(enum gpu_step step, int result)
{
	if (result == CUDA_NOT_READY && step == GPU_LOCK)
		return ": its CUDA calls did not come to rest in time";
	if (result == CUDA_OUT_OF_MEMORY)
		return step == GPU_RESTORE ? ": is the GPU's memory taken by others?" : ": not enough host memory for what is on the GPU";
	if (result == CUDA_NOT_SUPPORTED && step == GPU_LOCK)
		return ": it uses what this driver cannot checkpoint: MPS, most likely";
	if (result == CUDA_NOT_SUPPORTED)
		return ": it uses what this driver cannot checkpoint (unified memory, CUDA IPC, MPS, MIG), or the GPUs differ";
	if (result == CUDA_INVALID_VALUE && step == GPU_RESTORE)
		return ": the map must name every GPU that was checkpointed, and GPUs of the same kind";
	return "";
}

/* "is locked, not running": the most frequent reason of a refusal, if the driver still answers. */
static int state_refuse(const struct gpu_driver *d, enum gpu_step step, pid_t pid)
{
	static const char *const needed[] = { "running", "locked", "checkpointed", "locked" };
	enum gpu_state state;
	int r = gpu_driver_state(d, pid, &state);

	if (r < 0)
		return r;
	return err_say(EBUSY, "process %d: its CUDA state is %s, and %s needs it %s", pid, gpu_state_name(state),
		       gpu_step_name(step), needed[step]);
}

int gpu_driver_step(const struct gpu_driver *d, enum gpu_step step, pid_t pid, uint32_t timeout_ms,
		    const struct gpu_map *map, struct cuda_lent **lent)
{
	int result, r = step == GPU_RESTORE && map ? gpu_driver_check(d, map) : 0;
	enum gpu_state state;
	char text[128];

	if (r < 0)
		return r;
	result = step_call(&d->api, step, pid, timeout_ms, map, lent);
	if (result == CUDA_OK)
		return 0;
	if (result == CUDA_ILLEGAL_STATE)
		return state_refuse(d, step, pid);
	if (kill(pid, 0) && errno == ESRCH)
		return err_say(ESRCH, "process %d ended during the NVIDIA driver's %s", pid, gpu_step_name(step));
	if (no_cuda(result) && gpu_driver_state(d, pid, &state) >= 0 && state == GPU_NONE)
		return err_say(ESRCH, "process %d is no CUDA process, or has not finished cuInit()", pid);
	return err_say(cuda_errno(result), "process %d: the NVIDIA driver's %s failed: %s%s", pid, gpu_step_name(step),
		       cuda_error_text(&d->api, result, text), step_hint(step, result));
}
