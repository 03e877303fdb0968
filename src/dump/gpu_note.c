/* SPDX-License-Identifier: Apache-2.0 */
/* What the images say of CUDA processes. Runs in the engine when everything else of the tree is known. */
#include <json-c/json.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "dump/gpu_dump.h"
#include "dump/gpu_lend.h"

/* Where the driver had mappings that it will want back at the same addresses: what is not there any more. */
static void note_ranges(struct dump *d, const struct gpu_proc *p, const struct dump_task *t, ThawGpuEntry *e)
{
	uint64_t *starts = arena_alloc(d->kinds.a, p->nmaps * sizeof(*starts));
	uint64_t *lens = arena_alloc(d->kinds.a, p->nmaps * sizeof(*lens));
	size_t k = 0, n = 0;

	for (size_t i = 0; i < p->nmaps; i++) {
		while (k < t->nmaps && t->maps[k].end_va <= p->maps[i].start_va)
			k++;
		if (k < t->nmaps && t->maps[k].start_va <= p->maps[i].start_va &&
		    t->maps[k].end_va >= p->maps[i].end_va)
			continue;
		starts[n] = p->maps[i].start_va;
		lens[n++] = p->maps[i].end_va - p->maps[i].start_va;
	}
	e->range_start = starts;
	e->range_len = lens;
	e->n_range_start = e->n_range_len = n;
}

/* The advice on the driver's buffer is ours. */
static void take_back_advice(const struct gpu_proc *p, const struct snap_task *t)
{
	for (size_t i = 0; p->prefault.start_va && i < t->mm->n_vmas; i++) {
		uint64_t end = p->prefault.start_va + p->prefault.len;
		VmaEntry *v = t->mm->vmas[i];

		if (v->start >= p->prefault.start_va && v->end <= end && v->has_madv) {
			v->madv &= ~(UINT64_C(1) << MADV_HUGEPAGE);
			v->has_madv = v->madv != 0;
		}
	}
}

/* The agent knows which GPU is /dev/nvidiaN; where there is one only, it is that. */
static void note_gpus(struct dump *d, const struct gpu_proc *p, struct json_object *gpus, ThawGpuEntry *e)
{
	size_t n = gpus ? json_object_array_length(gpus) : 0;

	e->gpu = arena_alloc(d->kinds.a, (n + 1) * sizeof(*e->gpu));
	for (size_t i = 0; i < n; i++) {
		struct json_object *gpu = json_object_array_get_idx(gpus, i), *uuid, *minor;
		int64_t number = json_object_object_get_ex(gpu, "minor", &minor) ? json_object_get_int64(minor) : -1;
		bool used = number >= 0 && number < 64 && p->traces.minors >> number & 1;

		if ((used || n == 1) && json_object_object_get_ex(gpu, "uuid", &uuid))
			e->gpu[e->n_gpu++] = arena_strdup(d->kinds.a, json_object_get_string(uuid));
	}
}

/* What they are, and what was in use of them. */
static void note_room(struct dump *d, const struct gpu_proc *p, ThawGpuEntry *e)
{
	char **chip = arena_alloc(d->kinds.a, (e->n_gpu + 1) * sizeof(*chip));
	uint64_t *need = arena_alloc(d->kinds.a, (e->n_gpu + 1) * sizeof(*need));

	for (size_t i = 0; i < e->n_gpu; i++) {
		const struct gpu_spare_of *g = p->spares ? gpu_spare_find(p->spares, e->gpu[i]) : NULL;

		if (!g || g->used_len == UINT64_MAX)
			return;
		chip[i] = arena_strdup(d->kinds.a, g->name);
		need[i] = g->used_len;
	}
	e->chip = chip;
	e->need = need;
	e->n_chip = e->n_need = e->n_gpu;
}

/* Returns whether it has GPU memory in a file of its own. */
static bool note_proc(struct dump *d, const struct gpu_proc *p, struct json_object *gpus)
{
	ThawGpuEntry *e = arena_msg(d->kinds.a, thaw_gpu_entry, ThawGpuEntry);
	struct snap_task *t = snap_task(d->snap, (uint32_t)p->pid);

	e->state = (uint32_t)p->found;
	e->restore_tid = (uint32_t)p->tid;
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		if (d->kinds.tasks[i].pid == p->pid)
			note_ranges(d, p, &d->kinds.tasks[i], e);
	t->cores[0]->tc->thaw_gpu = e;
	note_gpus(d, p, gpus, e);
	note_room(d, p, e);
	take_back_advice(p, t);
	return gpu_away_note(d, p, e) || gpu_lend_note(p, e);
}

bool gpu_note(struct dump *d, PluginsEntry *plugins)
{
	struct json_object *status = NULL, *gpus = NULL;
	auto_free char *text = NULL;
	bool driver = false, away = false;

	if (d->gpu && d->gpu->n && gpu_client_status(d->gpu->client, &text) >= 0)
		status = json_tokener_parse(text);
	if (status)
		json_object_object_get_ex(status, "gpus", &gpus);
	for (size_t i = 0; d->gpu && i < d->gpu->n; i++) {
		away |= note_proc(d, &d->gpu->v[i], gpus);
		driver |= d->gpu->v[i].found != GPU_CHECKPOINTED;
	}
	json_object_put(status);
	if (driver)
		arena_add(d->kinds.a, &plugins->plugins, &plugins->n_plugins,
			  arena_strdup(d->kinds.a, SNAP_CUDA_PLUGIN));
	return away;
}
