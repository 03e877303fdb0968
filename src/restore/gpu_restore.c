/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUDA processes in a restore (gpu_restore.h). Runs in the engine, the only tracer.
 *
 *   all threads of the task stand at the commit | its restore thread is sent through its sigreturn | the
 *   driver restores | (all tasks of the tree are that far) unlock all | commit
 *
 * Until the commit everything can be taken back by killing all, as ever: a driver that fails, or a restore
 * thread that ends, is a failed restore. Unlocking comes before the commit, too: calls that waited for it go
 * on when their threads do.
 *
 * The driver's thread blocks no signals of its own accord. The one that runs ahead has all blocked: else a handler of
 * the program would run in it before the commit. Shared memory is full by then (the engine's own stage "fill" comes
 * before), and the vdso stands in its place.
 *
 * CRIU's images do not name that thread, or even the processes: those that map libcuda are asked once they stand.
 */
#include "restore/gpu_restore.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/trace.h"
#include "gpu/gpu_words.h"
#include "restore/gpu_back.h"
#include "restore/gpu_fits.h"

enum { UNLOCK_MS = 10000 };

enum rgpu_step { RGPU_WAITS, RGPU_RUNS, RGPU_DONE };

struct rgpu_task {
	const struct rtask *k;
	const ThawGpuEntry *e;  /* NULL: CRIU's image */
	enum rgpu_step step;
	size_t thread;          /* that runs ahead, 0: none */
	uint64_t mask;          /* what it will have blocked */
	uint32_t ticket;
	uint64_t from_ns;
	bool unlock;            /* at the end */
	struct gpu_back *back;  /* memory that thaw brings back itself, or NULL */
};

struct rgpu {
	struct gpu_client *client;
	struct gpu_map map;
	struct gpu_fits fits;
	struct rgpu_task *v;
	size_t n, left;
};

static int in_task(int err, const struct rgpu_task *t)
{
	return err_ctx(err, "task %d (%s)", t->k->pid, snap_comm(t->k->t));
}

/* --- which ---------------------------------------------------------------------------------------- */

static bool maps_libcuda(const struct snap *s, const struct snap_task *t)
{
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		bool file = v->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED);
		const FileEntry *f = file ? snap_file(s, (uint32_t)v->shmid) : NULL;

		if (f && f->reg && strstr(f->reg->name, "/libcuda.so"))
			return true;
	}
	return false;
}

static bool is_crius(const struct restore *r)
{
	const PluginsEntry *p = r->snap->inventory->plugins_entry;

	return p && p->n_plugins && !r->snap->inventory->thaw_version;
}

static size_t thread_of(const struct rtask *k, uint32_t tid)
{
	for (size_t i = 1; i < k->t->ncores; i++)
		if (k->t->pst->threads[i] == tid)
			return i;
	return 0;
}

static int add(struct restore *r, const struct rtask *k)
{
	const ThawGpuEntry *e = k->t->cores[0]->tc->thaw_gpu;

	if (!e && !(is_crius(r) && maps_libcuda(r->snap, k->t)))
		return 0;
	if (e && e->state > GPU_CHECKPOINTED)
		return err_say(EINVAL, "the image gives it the GPU state %u, which there is not", e->state);
	if (e && e->state == GPU_CHECKPOINTED) /* as somebody else has left it */
		return 0;
	if (e && !thread_of(k, e->restore_tid))
		return err_say(EINVAL, "the image names thread %u as the driver's, which it does not have", e->restore_tid);
	r->gpu->v[r->gpu->n] = (struct rgpu_task){ .k = k, .e = e };
	return gpu_back_plan(r, k, &r->gpu->v[r->gpu->n++].back);
}

int gpu_restore_plan(struct restore *r)
{
	r->gpu = arena_alloc(r->kinds.a, sizeof(*r->gpu));
	r->gpu->v = arena_alloc(r->kinds.a, r->tree.n * sizeof(*r->gpu->v));
	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];
		int err = k->role == RTASK_ALIVE ? add(r, k) : 0;

		if (err < 0)
			return err_ctx(err, "task %d (%s)", k->pid, snap_comm(k->t));
	}
	r->gpu->left = r->gpu->n;
	return 0;
}

static bool lent(const struct rgpu_task *t)
{
	return t->e && t->e->has_lent_len;
}

static int check_fits(struct restore *r)
{
	struct rgpu *g = r->gpu;
	int err = 0;

	g->fits.map = &g->map;
	gpu_fits_ask(&g->fits, g->client);
	for (size_t i = 0; err >= 0 && i < g->n; i++)
		if (g->v[i].e)
			err = in_task(gpu_fits_add(&g->fits, g->v[i].e), &g->v[i]);
	return err < 0 ? err : gpu_fits_check(&g->fits);
}

int gpu_restore_open(struct restore *r)
{
	const char *map = r->kinds.opts->gpu_map;
	int err = map ? gpu_map_parse(map, &r->gpu->map) : 0;

	if (err < 0 || !r->gpu->n)
		return err_ctx(err, "--gpu-map");
	err = gpu_client_open(r->kinds.opts->gpu_socket, &r->gpu->client);
	if (err >= 0 && map)
		err = err_ctx(gpu_client_check(r->gpu->client, &r->gpu->map), "--gpu-map");
	if (err >= 0)
		err = check_fits(r);
	for (size_t i = 0; err >= 0 && i < r->gpu->n; i++) {
		struct rgpu_task *t = &r->gpu->v[i];

		if (lent(t))
			err = in_task(gpu_back_can_lend(r->gpu->client), t);
		if (err >= 0 && t->back)
			err = in_task(gpu_back_begin(r, t->back, r->gpu->client, &r->gpu->map), t);
	}
	return err;
}

/* --- one task ------------------------------------------------------------------------------------- */

static bool stands(const struct restore *r, const struct rtask *k)
{
	return __atomic_load_n(&r->board->task[k->index].arrived, __ATOMIC_ACQUIRE) == k->t->ncores;
}

/* Where the image does not name it the driver is asked; 0: it is no CUDA process after all. */
static int find_thread(struct restore *r, struct rgpu_task *t, size_t *ret)
{
	pid_t tid = 0;
	int err;

	if (t->e) {
		*ret = thread_of(t->k, t->e->restore_tid);
		return 0;
	}
	err = gpu_client_restore_tid(r->gpu->client, t->k->pid, &tid);
	*ret = err < 0 ? 0 : thread_of(t->k, (uint32_t)tid);
	if (*ret)
		return 0;
	if (err == -EPIPE || err == -ETIMEDOUT)
		return err;
	log_info("task %d (%s) maps libcuda but has no GPU state", t->k->pid, snap_comm(t->k->t));
	return 0;
}

static void done(struct restore *r, struct rgpu_task *t)
{
	t->step = RGPU_DONE;
	r->gpu->left--;
}

/* Without NVML the driver itself is asked, and not earlier: a new agent gets it ready while memory is filled. */
static int check_gpus(struct restore *r, const struct rgpu_task *t)
{
	for (size_t i = 0; !r->gpu->fits.known && t->e && i < t->e->n_gpu; i++) {
		struct gpu_map one = { .n = 1 };
		int err = gpu_fits_place(&r->gpu->map, t->e->gpu[i], &one.pair[0]);

		if (err >= 0 && !r->gpu->map.n)
			err = gpu_client_check(r->gpu->client, &one);
		if (err == -ENOENT)
			err = gpu_fits_missing(t->e->gpu[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

static int begin(struct restore *r, struct rgpu_task *t)
{
	size_t thread;
	int err = find_thread(r, t, &thread);

	if (err >= 0 && !thread) {
		done(r, t);
		return 0;
	}
	if (err >= 0)
		err = check_gpus(r, t);
	if (err >= 0)
		err = finish_ahead(r, t->k, thread, &t->mask);
	if (err < 0)
		return err;
	t->thread = thread;
	t->from_ns = trace_now_ns();
	t->unlock = !t->e || t->e->state == GPU_RUNNING;
	t->step = RGPU_RUNS;
	if (lent(t))
		return gpu_back_lend(r, t->k, r->gpu->client, &r->gpu->map, &t->ticket);
	return gpu_client_start(r->gpu->client, GPU_RESTORE, t->k->pid, (uint32_t)r->kinds.opts->gpu_timeout * 1000,
				&r->gpu->map, &t->ticket);
}

static int end(struct restore *r, struct rgpu_task *t)
{
	uint64_t driver_ns = 0, now;
	int err = gpu_client_wait(r->gpu->client, t->ticket, &driver_ns);

	if (err < 0)
		return err_ctx(err, "GPU restore");
	now = trace_now_ns();
	trace_name(t->k->pid, TRACE_GPU_DRIVER, "driver");
	trace_span("driver's restore", t->k->pid, TRACE_GPU_DRIVER, t->from_ns, now, 0);
	log_info("task %d (%s): GPU restore took %.1f ms (driver %.1f ms), begun %.1f ms after the start", t->k->pid,
		 snap_comm(t->k->t), (double)(now - t->from_ns) / 1e6, (double)driver_ns / 1e6,
		 (double)(t->from_ns - r->start_ns) / 1e6);
	done(r, t);
	return 0;
}

/* The driver would wait for it. */
static int check_runs(const struct rgpu_task *t)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%u", t->k->pid, t->k->t->pst->threads[t->thread]);
	return access(path, F_OK) < 0 ? err_say(ESRCH, "its thread for the GPU has ended") : 0;
}

int gpu_restore_tend(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && r->gpu->left && i < r->gpu->n; i++) {
		struct rgpu_task *t = &r->gpu->v[i];

		if (t->step == RGPU_WAITS && stands(r, t->k))
			err = begin(r, t);
		else if (t->step == RGPU_RUNS)
			err = gpu_client_done(r->gpu->client, t->ticket) ? end(r, t) : check_runs(t);
		err = in_task(err, t);
	}
	return err;
}

size_t gpu_restore_left(const struct restore *r)
{
	return r->gpu->left;
}

int gpu_restore_fd(const struct restore *r)
{
	return r->gpu->client ? gpu_client_fd(r->gpu->client) : -1;
}

size_t gpu_restore_thread(const struct restore *r, const struct rtask *k, uint64_t *ret_mask)
{
	for (size_t i = 0; i < r->gpu->n; i++)
		if (r->gpu->v[i].k == k) {
			*ret_mask = r->gpu->v[i].mask;
			return r->gpu->v[i].thread;
		}
	return 0;
}

/* --- the end -------------------------------------------------------------------------------------- */

int gpu_restore_loaded(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < r->gpu->n; i++)
		if (r->gpu->v[i].back)
			err = gpu_back_wait(r->gpu->v[i].back);
	return err;
}

int gpu_restore_return(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < r->gpu->n; i++)
		if (r->gpu->v[i].back)
			err = gpu_back_return(r->gpu->v[i].back);
	return err;
}

int gpu_restore_unlock(struct restore *r)
{
	struct rgpu *g = r->gpu;
	uint64_t from = trace_now_ns();
	int err = 0;

	for (size_t i = 0; err >= 0 && i < g->n; i++) {
		struct rgpu_task *t = &g->v[i];

		if (t->unlock)
			err = gpu_client_start(g->client, GPU_UNLOCK, t->k->pid, UNLOCK_MS, NULL, &t->ticket);
		err = in_task(err, t);
	}
	for (size_t i = 0; err >= 0 && i < g->n; i++)
		if (g->v[i].unlock) {
			err = in_task(err_ctx(gpu_client_wait(g->client, g->v[i].ticket, NULL), "GPU unlock"), &g->v[i]);
			trace_span("unlock", g->v[i].k->pid, TRACE_GPU_DRIVER, from, trace_now_ns(), 0);
		}
	if (err >= 0 && g->n)
		log_info("unlocked the GPUs of %zu tasks in %.1f ms", g->n, (double)(trace_now_ns() - from) / 1e6);
	return err;
}

void gpu_restore_close(struct restore *r)
{
	if (!r->gpu)
		return;
	for (size_t i = 0; i < r->gpu->n; i++)
		gpu_back_free(r->gpu->v[i].back);
	gpu_client_close(r->gpu->client);
}
