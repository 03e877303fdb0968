/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NVML tells of GPUs and their memory (stub.h): every process's device memory is mapped from memfds that are named
 * by their GPU's number, so /proc tells it, as NVML, without any driver.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stub.h"

struct memory {
	unsigned long long total, left, used;
};

struct process {
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
};

static int number_of(const void *device)
{
	return (int)(intptr_t)device - 1;
}

static unsigned long long used_by(int pid, int number)
{
	char path[32], line[512], name[64];
	unsigned long long used = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	snprintf(name, sizeof(name), "/memfd:nvidia-memory-%d ", number);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long start, end;

		if (strstr(line, name) && sscanf(line, "%lx-%lx", &start, &end) == 2)
			used += end - start;
	}
	if (f)
		fclose(f);
	return used;
}

static unsigned processes(int number, struct process *v, unsigned most)
{
	DIR *dir = opendir("/proc");
	const struct dirent *e;
	unsigned n = 0;

	while (dir && n < most && (e = readdir(dir))) {
		int pid = (int)strtol(e->d_name, NULL, 10);
		unsigned long long used = pid > 0 ? used_by(pid, number) : 0;

		if (used)
			v[n++] = (struct process){ (unsigned)pid, used, ~0u, ~0u };
	}
	if (dir)
		closedir(dir);
	return n;
}

FREE_CALL(nvmlInit_v2, (void), {})
FREE_CALL(nvmlDeviceGetCount_v2, (unsigned *n), {
	int gpus, number[GPUS];

	gpus_read(&gpus, number);
	*n = (unsigned)gpus;
})
FREE_CALL(nvmlDeviceGetHandleByIndex_v2, (unsigned i, void **ret), {
	int gpus, number[GPUS];

	gpus_read(&gpus, number);
	*ret = (void *)(intptr_t)(number[i] + 1);
})
FREE_CALL(nvmlDeviceGetUUID, (const void *device, char *text, unsigned len), {
	snprintf(text, len, "GPU-5b5b5b5b-5b5b-5b5b-5b5b-5b5b5b5b%04x", (unsigned)number_of(device));
})
FREE_CALL(nvmlDeviceGetName, (const void *device, char *text, unsigned len), {
	snprintf(text, len, "Stub GPU %s", number_of(device) < 100 ? "A" : "B");
})
FREE_CALL(nvmlDeviceGetMemoryInfo, (const void *device, struct memory *ret), {
	const char *mem = getenv("STUB_CUDA_MEM");
	struct process v[256];
	unsigned n = processes(number_of(device), v, 256);

	*ret = (struct memory){ .total = (unsigned long long)(mem ? strtol(mem, NULL, 10) : 4096) << 20 };
	for (unsigned i = 0; i < n; i++)
		ret->used += v[i].used;
	ret->left = ret->used < ret->total ? ret->total - ret->used : 0;
})
FREE_CALL(nvmlDeviceGetComputeRunningProcesses_v3, (const void *device, unsigned *n, struct process *v), {
	*n = processes(number_of(device), v, *n);
})
