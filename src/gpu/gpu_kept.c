/* SPDX-License-Identifier: Apache-2.0 */
/* One image that is kept (gpu_kept.h). */
#include "gpu/gpu_kept.h"

#include <stdlib.h>

void gpu_kept_free(struct gpu_kept *e)
{
	while (e->n_holds)
		gpu_hold_free(&e->hold[--e->n_holds]);
	free(e->part);
	free(e);
}

const struct gpu_hold *gpu_kept_hold(const struct gpu_kept *e, size_t gpu)
{
	for (size_t i = 0; i < e->n_holds; i++)
		if (e->hold[i].gpu == gpu)
			return &e->hold[i];
	return NULL;
}

bool gpu_kept_is(const struct gpu_kept *e, const struct gpu_image *image, const struct gpu_part *part, size_t n)
{
	if (e->n_parts != n || !gpu_image_same(&e->image, image))
		return false;
	for (size_t i = 0; i < n; i++)
		if (e->part[i].gpu != part[i].gpu || e->part[i].len != part[i].len)
			return false;
	return true;
}

int gpu_kept_copy(const struct gpu_kept *e, bool out, const struct gpu_part *part, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < e->n_holds && r >= 0; i++)
		r = gpu_hold_copy(&e->hold[i], out, part, n);
	return r;
}
