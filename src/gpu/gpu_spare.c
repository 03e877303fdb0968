/* SPDX-License-Identifier: Apache-2.0 */
/* Free memory of the GPUs (gpu_spare.h). The library is loaded when it is first asked for (10 ms). */
#include "gpu/gpu_spare.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { PROCESSES_MOST = 256 };

struct nvml_memory {
	unsigned long long total, left, used;
};

struct nvml_process {
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
};

typedef struct nvml_device *nvml_device;

struct nvml {
	int (*init)(void);
	int (*count)(unsigned *n);
	int (*by_index)(unsigned i, nvml_device *ret);
	int (*uuid)(nvml_device d, char *text, unsigned len);
	int (*name)(nvml_device d, char *text, unsigned len);
	int (*memory)(nvml_device d, struct nvml_memory *ret);
	int (*processes)(nvml_device d, unsigned *n, struct nvml_process *ret);
};

void gpu_spare_init(struct gpu_spare *r)
{
	*r = (struct gpu_spare){ 0 };
	pthread_mutex_init(&r->lock, NULL);
}

static struct nvml *load(void)
{
	static const struct { const char *symbol; size_t offset; } calls[] = {
		{ "nvmlInit_v2", offsetof(struct nvml, init) },
		{ "nvmlDeviceGetCount_v2", offsetof(struct nvml, count) },
		{ "nvmlDeviceGetHandleByIndex_v2", offsetof(struct nvml, by_index) },
		{ "nvmlDeviceGetUUID", offsetof(struct nvml, uuid) },
		{ "nvmlDeviceGetName", offsetof(struct nvml, name) },
		{ "nvmlDeviceGetMemoryInfo", offsetof(struct nvml, memory) },
		{ "nvmlDeviceGetComputeRunningProcesses_v3", offsetof(struct nvml, processes) },
	};
	const char *given = secure_getenv("THAW_LIBNVML");
	void *lib = dlopen(given && *given ? given : "libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
	struct nvml *n = lib ? calloc(1, sizeof(*n)) : NULL;

	for (size_t i = 0; n && i < ARRAY_LEN(calls); i++) {
		void *call = dlsym(lib, calls[i].symbol);

		if (!call) {
			free(n);
			return NULL;
		}
		memcpy((char *)n + calls[i].offset, &call, sizeof(call));
	}
	if (n && n->init()) {
		free(n);
		n = NULL;
	}
	return n;
}

static int nvml_get(struct gpu_spare *r, struct nvml **ret)
{
	pthread_mutex_lock(&r->lock);
	if (!r->tried)
		r->nvml = load();
	r->tried = true;
	*ret = r->nvml;
	pthread_mutex_unlock(&r->lock);
	return *ret ? 0 : err_say(ENOTSUP, "libnvidia-ml.so.1 cannot be used: it is not known how much memory the GPUs have free");
}

/* What pid has of a GPU; UINT64_MAX: NVML does not tell. */
static uint64_t used_by(const struct nvml_process *v, unsigned n, pid_t pid)
{
	for (unsigned i = 0; i < n; i++)
		if (v[i].pid == (unsigned)pid)
			return v[i].used;
	return 0;
}

static int device_write(const struct nvml *n, unsigned i, pid_t pid, bool *ret_own, char *text, size_t len)
{
	struct nvml_process v[PROCESSES_MOST];
	unsigned count = PROCESSES_MOST;
	struct nvml_memory m = { 0 };
	char uuid[96] = "", name[96] = "";
	uint64_t own, used;
	nvml_device d;

	if (n->by_index(i, &d) || n->uuid(d, uuid, sizeof(uuid)) || n->name(d, name, sizeof(name)) || n->memory(d, &m))
		return 0;
	if (n->processes(d, &count, v))
		count = 0;
	own = used_by(v, count, getpid());
	used = used_by(v, count, pid);
	*ret_own |= own;
	return snprintf(text, len, "%.40s %" PRIu64 " %" PRIu64 " %.63s\n", uuid,
			own == UINT64_MAX ? own : (uint64_t)m.left + own, used, name);
}

/*
 * In a container NVML may not know processes by our PIDs, and so not the agent: what that could give up cannot be told
 * from what others have then, and nobody is to be refused for it.
 */
int gpu_spare_write(struct gpu_spare *r, bool holds, pid_t pid, char *text, size_t len)
{
	bool own = false;
	struct nvml *n;
	unsigned count = 0;
	size_t at = 0;
	int err = nvml_get(r, &n);

	if (err >= 0 && n->count(&count))
		err = err_say(ENOTSUP, "NVML does not count the GPUs");
	for (unsigned i = 0; err >= 0 && i < count && i < GPU_MOST; i++) {
		int more = device_write(n, i, pid, &own, text + at, len - at);

		at += more > 0 && (size_t)more < len - at ? (size_t)more : 0;
	}
	text[at] = 0;
	if (err >= 0 && holds && !own)
		err = err_say(ENOTSUP, "NVML does not know this process: it is not known how much memory the GPUs have free");
	return err;
}
