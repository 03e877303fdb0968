/* SPDX-License-Identifier: Apache-2.0 */
/* GPU memory that a restore brings back itself (gpu_back.h). Runs in the engine; the gate of the image is closed. */
#include "restore/gpu_back.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "gpu/gpu_stream.h"

struct gpu_back {
	const struct rtask *k;
	struct gpu_pieces pieces;
	int channel;
	uint64_t from_ns;
};

int gpu_back_plan(struct restore *r, const struct rtask *k, struct gpu_back **ret)
{
	const ThawGpuEntry *e = k->t->cores[0]->tc->thaw_gpu;
	struct gpu_back *b;
	int err;

	*ret = NULL;
	if (!e || !e->n_piece)
		return 0;
	if (r->kinds.opts->leave_stopped)
		return err_say(ENOTSUP, "its GPU memory is put back by a thread of its own, which --leave-stopped would stop");
	b = arena_alloc(r->kinds.a, sizeof(*b));
	*b = (struct gpu_back){ .k = k, .channel = -1 };
	err = gpu_pieces_make(&b->pieces, e->n_piece);
	for (size_t i = 0; err >= 0 && i < e->n_piece; i++) {
		const ThawGpuPiece *p = e->piece[i];

		b->pieces.v[i].va = p->va;
		b->pieces.v[i].len = p->len;
		if (p->gpu.len != GPU_UUID_LEN)
			return err_say(EINVAL, "the image names a GPU with %zu bytes", p->gpu.len);
		memcpy(b->pieces.v[i].gpu, p->gpu.data, GPU_UUID_LEN);
	}
	if (err >= 0)
		err = gpu_pieces_check(&b->pieces);
	*ret = b;
	return err;
}

int gpu_back_begin(struct restore *r, struct gpu_back *b, struct gpu_client *c, const struct gpu_map *map)
{
	auto_close int fd = img_open(r->dir->dirfd, IMG_GPU_PAGES, (uint64_t)b->k->pid);
	struct gpu_load_how how = { .map = map };
	struct stat st;
	int err = gpu_wish_parse(&r->kinds.opts->gpu_keep, &how.wish);

	if (fd < 0 || err < 0)
		return fd < 0 ? fd : err;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != b->pieces.bytes)
		return err_say(EINVAL, "gpu-pages-%d.img has another length than the GPU memory it holds", b->k->pid);
	b->from_ns = trace_now_ns();
	return gpu_stream_begin(c, getpid(), &b->pieces, fd, &how, &b->channel);
}

static void loaded_log(const struct gpu_back *b, const struct gpu_stream_result *out)
{
	char zero[64] = "";

	if (out->source != GPU_FROM_KEPT)
		snprintf(zero, sizeof(zero), ", %lu of them not zero", (unsigned long)(out->bytes >> 20));
	log_info("task %d (%s): %lu MiB of GPU memory were %s in %.1f ms (%.1f GB/s)%s", b->k->pid, snap_comm(b->k->t),
		 (unsigned long)(b->pieces.bytes >> 20), out->source == GPU_FROM_KEPT ? "copied" : "loaded",
		 (double)out->ns / 1e6, (double)b->pieces.bytes / (double)(out->ns + 1), zero);
	if (out->text[0])
		log_info("task %d (%s): gpu: %s", b->k->pid, snap_comm(b->k->t), out->text);
}

/* What the agent did, and when; its clock is another only if its namespace is. */
static void loading_trace(const struct gpu_back *b, const struct gpu_stream_result *out)
{
	uint64_t from = out->from_ns, now = trace_now_ns();
	int pid = b->k->pid;

	if (from < b->from_ns || from > now || out->ns > now - from || out->made_ns > out->copied_ns ||
	    out->copied_ns > out->ns)
		return;
	trace_name(pid, TRACE_GPU_MEMORY, "GPU memory");
	trace_span("agent gets ready", pid, TRACE_GPU_MEMORY, b->from_ns, from, 0);
	trace_span("memory created", pid, TRACE_GPU_MEMORY, from, from + out->made_ns, 0);
	trace_span("loaded", pid, TRACE_GPU_MEMORY, from + out->made_ns, from + out->copied_ns, out->bytes);
	trace_span("exported", pid, TRACE_GPU_MEMORY, from + out->copied_ns, from + out->ns, 0);
}

int gpu_back_wait(struct gpu_back *b)
{
	struct gpu_stream_result out;
	int r = gpu_stream_wait(b->channel, true, &b->pieces, &out);

	if (r < 0)
		return err_ctx(r, "task %d (%s): GPU memory", b->k->pid, snap_comm(b->k->t));
	loading_trace(b, &out);
	loaded_log(b, &out);
	return 0;
}

int gpu_back_return(struct gpu_back *b)
{
	uint64_t from = trace_now_ns();
	int r = gpu_stream_put_back(b->k->pid, snap_comm(b->k->t), &b->pieces, &b->channel);

	if (r < 0)
		return err_ctx(r, "task %d (%s): GPU memory", b->k->pid, snap_comm(b->k->t));
	log_info("task %d (%s): has its GPU memory, mapped in %.1f ms", b->k->pid, snap_comm(b->k->t),
		 (double)(trace_now_ns() - from) / 1e6);
	return 0;
}

int gpu_back_can_lend(struct gpu_client *c)
{
	bool lends = false;
	int err = gpu_client_lends(c, &lends);

	if (err >= 0 && !lends)
		err = err_say(ENOTSUP, "its GPU memory was dumped with a driver that lends it (CUDA 13.4), which the driver here "
			      "does not");
	return err;
}

int gpu_back_lend(struct restore *r, const struct rtask *k, struct gpu_client *c, const struct gpu_map *map,
		  uint32_t *ret_ticket)
{
	auto_close int fd = img_open(r->dir->dirfd, IMG_GPU_PAGES, (uint64_t)k->pid);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != k->t->cores[0]->tc->thaw_gpu->lent_len)
		return err_say(EINVAL, "gpu-pages-%d.img has another length than the GPU memory it holds", k->pid);
	return gpu_client_lend(c, GPU_RESTORE, k->pid, (uint32_t)r->kinds.opts->gpu_timeout * 1000, map, fd, true,
			       ret_ticket);
}

void gpu_back_free(struct gpu_back *b)
{
	if (!b)
		return;
	close_fd(&b->channel);
	gpu_pieces_free(&b->pieces);
}
