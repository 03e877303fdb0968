/* SPDX-License-Identifier: Apache-2.0 */
/* GPUs for an image (gpu_fits.h). */
#include "restore/gpu_fits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

void gpu_fits_ask(struct gpu_fits *f, struct gpu_client *c)
{
	auto_free char *text = NULL;
	int err = gpu_client_spare(c, getpid(), &text);

	if (err >= 0)
		err = gpu_spare_read(text, &f->spares);
	f->known = err >= 0;
	if (err < 0)
		log_info("%s", err_text());
}

int gpu_fits_place(const struct gpu_map *map, const char *uuid, struct gpu_pair *ret)
{
	struct gpu_map one;
	char text[2 * GPU_UUID_TEXT + 1];
	int err;

	snprintf(text, sizeof(text), "%.40s=%.40s", uuid, uuid);
	err = gpu_map_parse(text, &one);
	if (err < 0)
		return err;
	*ret = one.pair[0];
	for (size_t i = 0; i < map->n; i++)
		if (!memcmp(map->pair[i].from, ret->from, GPU_UUID_LEN)) {
			*ret = map->pair[i];
			return 0;
		}
	return map->n ? err_say(EINVAL, "--gpu-map does not name %s, which the process uses", uuid) : 0;
}

int gpu_fits_missing(const char *uuid)
{
	return err_say(ENOENT, "it uses %s, which is not in this machine: --gpu-map puts another in its place", uuid);
}

int gpu_fits_add(struct gpu_fits *f, const ThawGpuEntry *e)
{
	bool told = e->n_chip == e->n_gpu && e->n_need == e->n_gpu;

	for (size_t i = 0; f->known && i < e->n_gpu; i++) {
		const struct gpu_spare_of *to;
		char uuid[GPU_UUID_TEXT];
		struct gpu_pair pair;
		int err = gpu_fits_place(f->map, e->gpu[i], &pair);

		if (err < 0)
			return err;
		to = gpu_spare_find(&f->spares, gpu_uuid_text(pair.to, uuid));
		if (!to)
			return gpu_fits_missing(e->gpu[i]);
		if (told && strcmp(e->chip[i], to->name) != 0)
			return err_say(ENOTSUP, "it used %s, an %s, and %s is an %s: the NVIDIA driver brings it back only on the "
				       "same model", e->gpu[i], e->chip[i], uuid, to->name);
		if (told && e->need[i] < UINT64_MAX - f->need[to - f->spares.v])
			f->need[to - f->spares.v] += e->need[i];
	}
	return 0;
}

int gpu_fits_check(const struct gpu_fits *f)
{
	for (size_t i = 0; f->known && i < f->spares.n; i++) {
		const struct gpu_spare_of *g = &f->spares.v[i];

		if (f->need[i] > g->free_len)
			return err_say(ENOMEM, "%s (%s) has %lu MiB of memory free, and the processes of the image need %lu MiB there: "
				       "end what uses it, or take another with --gpu-map", g->uuid, g->name,
				       (unsigned long)(g->free_len >> 20), (unsigned long)(f->need[i] >> 20));
	}
	return 0;
}
