/* SPDX-License-Identifier: Apache-2.0 */
/* What a client may ask the agent (gpu_client.h): one request, one value or text. */
#include "gpu/gpu_client.h"
#include "gpu/gpu_wire.h"

int gpu_client_state(struct gpu_client *c, pid_t pid, enum gpu_state *ret)
{
	int value, r = gpu_client_ask(c, GPU_OP_STATE, pid, &value, NULL);

	if (r >= 0)
		*ret = (enum gpu_state)value;
	return r;
}

int gpu_client_restore_tid(struct gpu_client *c, pid_t pid, pid_t *ret)
{
	return gpu_client_ask(c, GPU_OP_TID, pid, ret, NULL);
}

int gpu_client_lends(struct gpu_client *c, bool *ret)
{
	int value, r = gpu_client_ask(c, GPU_OP_LENDS, 0, &value, NULL);

	if (r >= 0)
		*ret = value;
	return r;
}

int gpu_client_drop(struct gpu_client *c, uint64_t *ret_bytes)
{
	int mib, r = gpu_client_ask(c, GPU_OP_DROP, 0, &mib, NULL);

	if (r >= 0)
		*ret_bytes = (uint64_t)mib << 20;
	return r;
}

int gpu_client_status(struct gpu_client *c, char **ret_json)
{
	int r = gpu_client_ask(c, GPU_OP_STATUS, 0, NULL, ret_json);

	if (r >= 0 && !*ret_json)
		return err_set(ENOMEM, "the GPU agent's status");
	return r;
}

int gpu_client_spare(struct gpu_client *c, pid_t pid, char **ret_text)
{
	int r = gpu_client_ask(c, GPU_OP_SPARE, pid, NULL, ret_text);

	return r >= 0 && !*ret_text ? err_set(ENOMEM, "the GPU agent's answer") : r;
}
