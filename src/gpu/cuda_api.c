/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the driver's calls (cuda_api.h). */
#include "gpu/cuda_api.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static_assert(sizeof(struct cuda_lock) == 64, "as the driver reads it");
static_assert(sizeof(struct cuda_checkpoint) == 64, "as the driver reads it");
static_assert(sizeof(struct cuda_restore) == 64, "as the driver reads it");
static_assert(sizeof(struct cuda_unlock) == 64, "as the driver reads it");

enum { MAY, NEED };

static const struct row {
	const char *symbol;
	int need;
	size_t offset; /* of the pointer in struct cuda_api */
} rows[] = {
#define CUDA_CALL(need_, member, symbol_, args) \
	{ .symbol = (symbol_), .need = (need_), .offset = offsetof(struct cuda_api, member) },
#include "gpu/cuda_api.def"
};

static const char *lib_name(void)
{
	const char *given = secure_getenv("THAW_LIBCUDA");

	return given && *given ? given : "libcuda.so.1";
}

static int version_check(struct cuda_api *c)
{
	if (!c->driver_version || c->driver_version(&c->version) != CUDA_OK)
		return err_say(ENOTSUP, "%s does not tell its version", lib_name());
	if (c->version < CUDA_CHECKPOINT_VERSION)
		return err_say(ENOTSUP, "the NVIDIA driver is for CUDA %d.%d: checkpoints need driver 570 (CUDA 12.8) or later",
			       c->version / 1000, c->version % 1000 / 10);
	return 0;
}

/* All that is missing, by name. */
static int rows_check(const struct cuda_api *c)
{
	char missing[600] = "";
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].need == NEED && !*(void *const *)((const char *)c + rows[i].offset) &&
		    len < sizeof(missing) - 80)
			len += (size_t)snprintf(missing + len, sizeof(missing) - len, "%s%s", len ? ", " : "",
						rows[i].symbol);
	if (len)
		return err_say(ENOTSUP, "%s lacks %s: a driver of another make or age is needed", lib_name(), missing);
	return 0;
}

int cuda_api_load(struct cuda_api *ret)
{
	struct cuda_api c = { .lib = dlopen(lib_name(), RTLD_NOW | RTLD_LOCAL) };
	int r;

	if (!c.lib)
		return err_say(ENOENT, "this machine has no NVIDIA driver that can be loaded: %s", dlerror());
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		void *call = dlsym(c.lib, rows[i].symbol);

		memcpy((char *)&c + rows[i].offset, &call, sizeof(call));
	}
	r = version_check(&c);
	if (r >= 0)
		r = rows_check(&c);
	if (r >= 0)
		*ret = c;
	return r;
}

/* An older driver refuses the version, or does not know the name. */
void cuda_api_probe(struct cuda_api *c)
{
	int found = 1; /* 0: it is */
	void *call = NULL;

	c->operation_complete = NULL;
	if (c->version < CUDA_LENDING_VERSION || !c->call_find || !c->stream_ctx)
		return;
	if (c->call_find("cuCheckpointOperationComplete", &call, CUDA_LENDING_VERSION, 0, &found) == CUDA_OK && !found)
		memcpy(&c->operation_complete, &call, sizeof(call));
}

const char *cuda_error_text(const struct cuda_api *c, int result, char text[128])
{
	const char *name = NULL, *words = NULL;

	if (c->error_name)
		c->error_name(result, &name);
	if (c->error_text)
		c->error_text(result, &words);
	if (name && words)
		snprintf(text, 128, "%s (%s)", name, words);
	else
		snprintf(text, 128, "CUDA error %d", result);
	return text;
}

int cuda_errno(int result)
{
	switch (result) {
	case CUDA_INVALID_VALUE: return EINVAL;
	case CUDA_OUT_OF_MEMORY: return ENOMEM;
	case CUDA_NOT_INITIALIZED: return ENODEV;
	case CUDA_NO_DEVICE: return ENOENT;
	case CUDA_ILLEGAL_STATE: return EBUSY;
	case CUDA_NOT_READY: return ETIMEDOUT;
	case CUDA_NOT_PERMITTED: return EPERM;
	case CUDA_NOT_SUPPORTED: return ENOTSUP;
	default: return EIO;
	}
}
