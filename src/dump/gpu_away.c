/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GPU memory that a dump takes away itself (gpu_away.h). Runs in the engine.
 *
 *   the process's gate closes, its GPU is idle | the agent begins to stream | the process lets go | (lock, stop,
 *   checkpoint, the rest of the dump) | all is streamed | the process ends, or has it again
 *
 * Everything before the lock: behind it no call of the driver would come back. If the engine is killed in between, the
 * agent sees the channel close and gives the memory back.
 */
#include "dump/gpu_away.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "dump/gpu_dump.h"
#include "gpu/gpu_library.h"
#include "gpu/gpu_stream.h"

/* Begun before the process lets go: the agent has the descriptors then, whatever happens to the engine. */
static int stream_begin(struct dump *d, struct gpu_proc *p)
{
	struct gpu_away *w = &p->away;
	auto_close int fd = imgdir_create(d->kinds.dir, IMG_GPU_PAGES, (uint64_t)p->pid);

	return fd < 0 ? fd : gpu_stream_begin(d->gpu->client, p->pid, &w->pieces, fd, NULL, &w->channel);
}

static int take_one(struct dump *d, struct gpu_proc *p)
{
	struct gpu_library l;
	uint64_t from = trace_now_ns();
	int r = gpu_library_open(p->pid, &l);

	if (r <= 0)
		return r;
	r = gpu_library_take(&l, (uint32_t)d->kinds.opts->timeout * 1000, &p->away.pieces);
	if (r >= 0 && p->away.pieces.n) {
		r = stream_begin(d, p);
		if (r < 0)
			gpu_pieces_free(&p->away.pieces);
		else
			r = gpu_library_release(&l);
		log_info("task %d (%s): let go of %lu MiB of GPU memory in %zu pieces, in %.1f ms", p->pid, p->comm,
			 (unsigned long)(p->away.pieces.bytes >> 20), p->away.pieces.n,
			 (double)(trace_now_ns() - from) / 1e6);
	}
	gpu_library_close(&l);
	return r;
}

int gpu_away_take(struct dump *d)
{
	const struct opts *o = d->kinds.opts;

	/* with --leave-stopped the library could not run to get it back */
	for (size_t i = 0; o->gpu_direct && !o->leave_stopped && i < d->gpu->n; i++) {
		struct gpu_proc *p = &d->gpu->v[i];
		int r = p->found == GPU_RUNNING ? take_one(d, p) : 0;

		if (r < 0)
			return err_ctx(r, "task %d (%s): GPU memory", p->pid, p->comm);
	}
	return 0;
}

static int wait_one(struct gpu_proc *p)
{
	struct gpu_stream_result out;
	int r = gpu_stream_wait(p->away.channel, false, &p->away.pieces, &out);

	if (r < 0)
		return r;
	p->away.saved = true;
	trace_span("GPU memory saved", p->pid, p->pid, trace_now_ns() - out.ns, trace_now_ns(), out.bytes);
	log_info("task %d (%s): %lu MiB of GPU memory were saved in %.1f ms (%.1f GB/s), %lu of them not zero", p->pid,
		 p->comm, (unsigned long)(p->away.pieces.bytes >> 20), (double)out.ns / 1e6,
		 (double)p->away.pieces.bytes / (double)(out.ns + 1), (unsigned long)(out.bytes >> 20));
	return 0;
}

int gpu_away_wait(void *dump)
{
	struct dump *d = dump;

	for (size_t i = 0; d->gpu && i < d->gpu->n; i++) {
		struct gpu_proc *p = &d->gpu->v[i];
		int r = p->away.pieces.n ? wait_one(p) : 0;

		if (r < 0)
			return err_ctx(r, "task %d (%s): GPU memory", p->pid, p->comm);
	}
	return 0;
}

bool gpu_away_note(struct dump *d, const struct gpu_proc *p, ThawGpuEntry *e)
{
	for (size_t i = 0; i < p->away.pieces.n; i++) {
		const struct gpu_piece *from = &p->away.pieces.v[i];
		ThawGpuPiece *to = arena_msg(d->kinds.a, thaw_gpu_piece, ThawGpuPiece);

		to->va = from->va;
		to->len = from->len;
		to->gpu.len = sizeof(from->gpu);
		to->gpu.data = arena_memdup(d->kinds.a, from->gpu, sizeof(from->gpu));
		arena_add(d->kinds.a, &e->piece, &e->n_piece, to);
	}
	return p->away.pieces.n;
}

static void away_free(struct gpu_away *w)
{
	if (!w->pieces.n)
		return;
	gpu_stream_end(w->channel);
	gpu_pieces_free(&w->pieces);
}

void gpu_away_give_back(struct dump *d)
{
	for (size_t i = 0; i < d->gpu->n; i++) {
		struct gpu_proc *p = &d->gpu->v[i];

		if (!p->away.pieces.n)
			continue;
		if (gpu_stream_put_back(p->pid, p->comm, &p->away.pieces, &p->away.channel) < 0)
			log_warn("task %d (%s): its GPU memory was not given back: %s", p->pid, p->comm, err_text());
		else
			log_info("task %d (%s): has its GPU memory again", p->pid, p->comm);
		away_free(&p->away);
	}
}

void gpu_away_done(struct dump *d)
{
	for (size_t i = 0; i < d->gpu->n; i++)
		away_free(&d->gpu->v[i].away);
}
