/* SPDX-License-Identifier: Apache-2.0 */
/* Room for a restore by the driver (gpu_room.h). */
#include "gpu/gpu_room.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "gpu/gpu_give.h"

/* And for its context, in parts of a GPU's memory. */
enum { CONTEXT_PART = 64 };

static uint64_t private_bytes(pid_t pid)
{
	char path[40], line[128];
	auto_file FILE *f = NULL;
	unsigned long kib = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "RssAnon: %lu kB", &kib) == 1)
			break;
	return (uint64_t)kib << 10;
}

void gpu_room_make(struct gpu_keep *k, pid_t pid)
{
	uint64_t need = gpu_keep_any(k) ? private_bytes(pid) : 0;

	for (size_t i = 0; need && i < k->driver->n; i++)
		gpu_give_room(k, i, need + k->driver->device[i].mem_len / CONTEXT_PART, "a process needs the room");
}
