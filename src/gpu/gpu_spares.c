/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of what the GPUs have free (gpu_spare.h): thaw itself, which loads no library. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gpu/gpu_spare.h"

int gpu_spare_read(const char *text, struct gpu_spares *ret)
{
	ret->n = 0;
	for (; *text && ret->n < GPU_MOST; ret->n++) {
		struct gpu_spare_of *g = &ret->v[ret->n];
		const char *end = strchr(text, '\n');

		if (!end || sscanf(text, "%40s %" SCNu64 " %" SCNu64 " %63[^\n]", g->uuid, &g->free_len, &g->used_len, g->name) != 4)
			return err_say(EPROTO, "the GPU agent tells of memory what cannot be read");
		text = end + 1;
	}
	return 0;
}

const struct gpu_spare_of *gpu_spare_find(const struct gpu_spares *spares, const char *uuid)
{
	for (size_t i = 0; i < spares->n; i++)
		if (!strcmp(spares->v[i].uuid, uuid))
			return &spares->v[i];
	return NULL;
}
