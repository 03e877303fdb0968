/* SPDX-License-Identifier: Apache-2.0 */
/* The two kernels that every module has (stub.h). */
#include <string.h>

#include "stub.h"

static uint64_t word_of(uint64_t i, uint64_t seed)
{
	return (i + seed) * UINT64_C(0x9e3779b97f4a7c15);
}

/* (words, n, seed) */
static void kernel_fill(void **arg)
{
	uint64_t *p = *(uint64_t **)arg[0], n = *(uint64_t *)arg[1], seed = *(uint64_t *)arg[2];

	for (uint64_t i = 0; i < n; i++)
		p[i] = word_of(i, seed);
}

/* (words, n, seed, wrong) */
static void kernel_verify(void **arg)
{
	const uint64_t *p = *(uint64_t **)arg[0], n = *(uint64_t *)arg[1], seed = *(uint64_t *)arg[2];
	uint64_t *wrong = *(uint64_t **)arg[3];

	for (uint64_t i = 0; i < n; i++)
		*wrong += p[i] != word_of(i, seed);
}

CALL(cuModuleLoadData, (void **module, const void *image), { *module = (void *)image; })
CALL(cuModuleGetFunction, (void (**f)(void **), void *module, const char *name), {
	(void)module;
	*f = !strcmp(name, "fill") ? kernel_fill : !strcmp(name, "verify") ? kernel_verify : NULL;
	r = *f ? OK : NOT_FOUND;
})
CALL(cuLaunchKernel, (void (*f)(void **), unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
		      unsigned shared, void *stream, void **arg, void **extra), {
	(void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared, (void)stream, (void)extra;
	r = ctx_now() ? OK : INVALID_CONTEXT;
	if (!r)
		f(arg);
})
