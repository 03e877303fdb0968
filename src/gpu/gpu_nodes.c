/* SPDX-License-Identifier: Apache-2.0 */
/* Device nodes (gpu_nodes.h): what the kernel module shows in /proc, and what /proc shows of a process. */
#include "gpu/gpu_nodes.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"

int gpu_nodes_minor(const char *bus)
{
	char path[80], line[128], low[16];
	auto_file FILE *f = NULL;
	size_t i = 0;
	int minor = -1;

	for (; i < sizeof(low) - 1 && bus[i]; i++)
		low[i] = (char)tolower((unsigned char)bus[i]);
	low[i] = 0;
	snprintf(path, sizeof(path), "/proc/driver/nvidia/gpus/%s/information", low);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Device Minor: %d", &minor) == 1)
			break;
	return minor;
}

static uint32_t gpu_of(const struct gpu_driver *d, int minor)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->device[i].minor == minor)
			return 1u << i;
	return 0;
}

uint32_t gpu_nodes_open(const struct gpu_driver *d, pid_t pid)
{
	char path[64], target[PATH_MAX];
	auto_dir DIR *dir = NULL;
	const struct dirent *e;
	uint32_t gpus = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
		int minor;
		char more;

		target[len > 0 ? len : 0] = 0;
		if (sscanf(target, "/dev/nvidia%d%c", &minor, &more) == 1)
			gpus |= gpu_of(d, minor);
	}
	return gpus;
}
