/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libthaw-cuda.so: the library that `thaw run` preloads (doc/gpu-direct.md).
 *
 * At the start of the program it puts a gate before the CUDA driver and serves large allocations so that their memory
 * can be taken away and given back. THAW_CUDA_LEAST=MIB: the smallest that it serves; THAW_CUDA_LOG: says what it did.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "preload/driver.h"
#include "preload/gate.h"
#include "preload/owner.h"
#include "preload/serve.h"
#include "preload/session.h"

static void forked(void)
{
	gate_forked();
	owner_forked();
	session_forked();
}

static bool log_wanted(void)
{
	return getenv("THAW_CUDA_LOG") != NULL;
}

__attribute__((constructor)) static void preload_start(void)
{
	const char *least = getenv("THAW_CUDA_LEAST");
	bool found = driver_load();

	if (least)
		serve_set_least(strtoul(least, NULL, 10) << 20);
	gate_prepare();
	if (found)
		pthread_atfork(NULL, NULL, forked);
	if (log_wanted())
		fprintf(stderr, "thaw-cuda: %s, %zu entry points\n", found ? "the driver is behind the gate" : "no driver",
			gate_count());
}

__attribute__((destructor)) static void preload_end(void)
{
	struct owner_counts c = owner_counts();

	if (log_wanted())
		fprintf(stderr, "thaw-cuda: %llu blocks in %llu pieces served, %llu left to the driver; %zu entry points, %u ungated\n",
			(unsigned long long)c.blocks, (unsigned long long)c.pieces, (unsigned long long)c.refused,
			gate_count(), driver_ungated());
}
