/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the GPUs that are here will do for an image: all that it names, the same models, with room for all processes
 * together. Asked before anything is created; where the agent does not know it (gpu_spare.h), or the image does not
 * say, the driver's own restore finds out.
 */
#ifndef RESTORE_GPU_FITS_H
#define RESTORE_GPU_FITS_H

#include "gpu/gpu_spare.h"
#include "snap/snap.h"

struct gpu_fits {
	const struct gpu_map *map;
	bool known;
	struct gpu_spares spares;
	uint64_t need[GPU_MOST]; /* as spares.v */
};

void gpu_fits_ask(struct gpu_fits *f, struct gpu_client *c);
/* One process: its GPUs are there. */
int gpu_fits_add(struct gpu_fits *f, const ThawGpuEntry *e) must_check;
/* All were added: there is room. */
int gpu_fits_check(const struct gpu_fits *f) must_check;
/* Where a GPU of the image goes: to itself, or as --gpu-map says, which must name all. */
int gpu_fits_place(const struct gpu_map *map, const char *uuid, struct gpu_pair *ret) must_check;
int gpu_fits_missing(const char *uuid) must_check;

#endif
