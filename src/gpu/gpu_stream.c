/* SPDX-License-Identifier: Apache-2.0 */
/* A stream (gpu_stream.h), the agent's side: gets the memory into its own address space, and has it copied. */
#include "gpu/gpu_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/packet.h"
#include "base/trace.h"
#include "gpu/gpu_copy.h"
#include "gpu/gpu_give.h"
#include "gpu/gpu_library.h"
#include "gpu/gpu_loading.h"
#include "gpu/gpu_words.h"

struct stream {
	const struct gpu_stream *s;
	const struct cuda_api *api;
	struct gpu_stream_head head;
	struct gpu_pieces pieces;
	struct gpu_part *part;
	struct gpu_holding holding;
	int payload_fd;
	struct gpu_stream_result out;
};

/* --- what is to be done --------------------------------------------------------------------------- */

static int head_receive(struct stream *t)
{
	size_t n_fds;
	ssize_t n = packet_take(t->s->channel, &t->head, sizeof(t->head), 0, &t->payload_fd, 1, &n_fds);
	int r;

	if (n != sizeof(t->head) || t->payload_fd < 0 || t->head.n_pairs > GPU_MOST)
		return err_say(EPROTO, "process %d: a stream begins with something else", t->s->pid);
	r = gpu_pieces_make(&t->pieces, t->head.n);
	return r < 0 ? r : gpu_pieces_receive(t->s->channel, &t->pieces, !t->s->load);
}

/* The GPU that a piece is on, or is to be on. */
static int gpu_find(const struct stream *t, const uint8_t uuid[GPU_UUID_LEN], size_t *ret)
{
	const struct gpu_driver *d = t->s->driver;
	char text[GPU_UUID_TEXT];

	for (size_t i = 0; i < t->head.n_pairs; i++)
		if (!memcmp(t->head.pair[i].from, uuid, GPU_UUID_LEN)) {
			uuid = t->head.pair[i].to;
			break;
		}
	for (*ret = 0; *ret < d->n; (*ret)++)
		if (!memcmp(d->device[*ret].uuid, uuid, GPU_UUID_LEN))
			return 0;
	return err_say(ENODEV, "%s is not here", gpu_uuid_text(uuid, text));
}

static int parts_make(struct stream *t, uint32_t *ret_gpus)
{
	uint64_t offset = 0;

	t->part = calloc(t->pieces.n + 1, sizeof(*t->part));
	if (!t->part)
		return err_set(ENOMEM, "list GPU memory");
	for (size_t i = 0; i < t->pieces.n; i++) {
		struct gpu_part *p = &t->part[i];
		int r = gpu_find(t, t->pieces.v[i].gpu, &p->gpu);

		if (r < 0)
			return r;
		p->len = t->pieces.v[i].len;
		p->offset = offset;
		offset += p->len;
		*ret_gpus |= 1u << p->gpu;
	}
	return 0;
}

/* --- memory in the agent's own address space ------------------------------------------------------ */

static struct gpu_slot *slot_on(const struct stream *t, size_t gpu)
{
	for (size_t i = 0; i < t->holding.n; i++)
		if (t->holding.slot[i]->gpu == gpu)
			return t->holding.slot[i];
	return NULL;
}

static int handle_get(const struct stream *t, size_t i)
{
	const struct gpu_device *d = &t->s->driver->device[t->part[i].gpu];
	struct cuda_piece_kind kind = { CUDA_PINNED, CUDA_BY_FD, CUDA_ON_DEVICE, d->handle, NULL, 0, 0, 0, { 0 } };
	int fd = t->pieces.v[i].fd, rdma = 0;

	if (!t->s->load)
		return cuda_check(t->api, t->api->piece_import(&t->part[i].handle, (void *)(intptr_t)fd, CUDA_BY_FD),
				  "import GPU memory");
	if (t->api->device_attribute)
		t->api->device_attribute(&rdma, CUDA_HAS_RDMA_WITH_VMM, d->handle);
	kind.rdma = rdma != 0; /* as the library makes it */
	return cuda_check(t->api, t->api->piece_create(&t->part[i].handle, t->part[i].len, &kind, 0),
			  "get %lu MiB of GPU memory", (unsigned long)(t->part[i].len >> 20));
}

static int part_unmap(const struct stream *t, size_t i)
{
	struct gpu_part *p = &t->part[i];

	/* addresses that something is left at must not be had again */
	if (p->at && !t->api->piece_unmap(p->at, p->len))
		t->api->place_free(p->at, p->len);
	p->at = 0;
	return 0;
}

static int part_map(const struct stream *t, size_t i)
{
	struct cuda_access access = { CUDA_ON_DEVICE, t->s->driver->device[t->part[i].gpu].handle, CUDA_READ_WRITE };
	struct gpu_part *p = &t->part[i];
	cuda_ptr at = 0;
	int r = handle_get(t, i);

	if (r >= 0)
		r = cuda_check(t->api, t->api->place_reserve(&at, p->len, GPU_PAGE, 0, 0), "reserve GPU addresses");
	if (r < 0)
		return r;
	r = cuda_check(t->api, t->api->piece_map(at, p->len, 0, p->handle, 0), "map GPU memory");
	if (r < 0) {
		t->api->place_free(at, p->len);
		return r;
	}
	p->at = at;
	r = cuda_check(t->api, t->api->piece_access(at, p->len, &access, 1), "map GPU memory");
	if (r < 0) /* whoever finds it mapped uses it */
		part_unmap(t, i);
	return r;
}

/* Each in its own context: the addresses are the process's, but a call needs one. */
static int part_in_context(const struct stream *t, size_t i, int (*fn)(const struct stream *t, size_t i))
{
	const struct gpu_slot *slot = slot_on(t, t->part[i].gpu);
	cuda_ctx ctx;
	int r = slot ? cuda_check(t->api, t->api->ctx_push(slot->ctx), "use a context") :
		       err_say(ENODEV, "GPU %zu: there is no context", t->part[i].gpu);

	if (r < 0)
		return r;
	r = fn(t, i);
	t->api->ctx_pop(&ctx);
	return r;
}

static int part_release(const struct stream *t, size_t i)
{
	part_unmap(t, i);
	if (t->part[i].handle)
		t->api->piece_release(t->part[i].handle);
	t->part[i].handle = 0;
	return 0;
}

static int part_export(const struct stream *t, size_t i)
{
	return cuda_check(t->api, t->api->piece_export(&t->pieces.v[i].fd, t->part[i].handle, CUDA_BY_FD, 0),
			  "export GPU memory");
}

static int parts_do(const struct stream *t, int (*fn)(const struct stream *t, size_t i))
{
	int r = 0;

	for (size_t i = 0; i < t->pieces.n && r >= 0; i++)
		r = part_in_context(t, i, fn);
	return r;
}

/* --- the whole ------------------------------------------------------------------------------------ */

static bool driver_can(const struct cuda_api *a)
{
	return a->mem_set_async && a->copy_in && a->copy_out && a->place_reserve && a->place_free &&
	       a->piece_create && a->piece_release && a->piece_map && a->piece_unmap && a->piece_access &&
	       a->piece_export && a->piece_import;
}

static void descriptors_raise(void)
{
	struct rlimit l;

	if (!getrlimit(RLIMIT_NOFILE, &l) && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		(void)!setrlimit(RLIMIT_NOFILE, &l);
	}
}

static uint64_t since_begin(const struct stream *t)
{
	return trace_now_ns() - t->out.from_ns;
}

/* What is kept gives way: to what is to be loaded, and to the copy that makes a piece the process's own. */
static void room_make(const struct stream *t, bool load)
{
	for (size_t gpu = 0; gpu < t->s->driver->n; gpu++) {
		uint64_t most = 0, sum = 0;

		for (size_t i = 0; t->part && i < t->pieces.n; i++)
			if (t->part[i].gpu == gpu) {
				sum += t->part[i].len;
				most = t->part[i].len > most ? t->part[i].len : most;
			}
		if (sum)
			gpu_give_room(t->s->keep, gpu, load ? sum + most : most, "a process needs the room");
	}
}

static int load_run(struct stream *t)
{
	struct gpu_loading l = { .keep = t->s->keep, .wish = t->head.wish };
	int r;

	l.copy = (struct gpu_copy){ t->s->driver, true, t->payload_fd, t->part, t->pieces.n };
	r = gpu_loading_run(&l, &t->holding);
	t->out.bytes = l.bytes;
	t->out.source = l.source;
	memcpy(t->out.text, l.text, sizeof(t->out.text));
	return r;
}

static int save_run(struct stream *t)
{
	struct gpu_copy copy = { t->s->driver, false, t->payload_fd, t->part, t->pieces.n };

	if (ftruncate(t->payload_fd, (off_t)t->pieces.bytes) < 0)
		return err_set(errno, "make the file for GPU memory");
	return gpu_copy_run(&copy, t->holding.slot, t->holding.n, &t->out.bytes);
}

static int stream_copy(struct stream *t)
{
	struct gpu_want want = { .pid = t->s->pid, .buffers = true };
	int r = driver_can(t->api) ? 0 : err_say(ENOTSUP, "this NVIDIA driver has no virtual memory calls");

	descriptors_raise();
	if (r >= 0)
		r = parts_make(t, &want.gpus);
	if (r >= 0)
		r = gpu_pools_acquire(t->s->pools, &want, &t->holding);
	if (r >= 0 && t->s->load)
		room_make(t, true);
	if (r >= 0)
		r = parts_do(t, part_map);
	t->out.made_ns = since_begin(t);
	if (r >= 0)
		r = t->s->load ? load_run(t) : save_run(t);
	t->out.copied_ns = since_begin(t);
	if (r >= 0)
		r = parts_do(t, part_unmap);
	if (r >= 0 && t->s->load)
		r = parts_do(t, part_export);
	return r;
}

/* What was loaded, and nobody has got. */
static int part_scrub(const struct stream *t, size_t i)
{
	const struct gpu_part *p = &t->part[i];

	return p->at ? cuda_check(t->api, t->api->mem_set(p->at, 0, p->len), "overwrite GPU memory") : 0;
}

/* The client is gone, and had no time to give back what it had taken. */
static void give_back(const struct stream *t)
{
	struct gpu_library l;
	int r = gpu_library_open(t->s->pid, &l);

	if (r == 1) {
		r = gpu_library_return(&l, &t->pieces);
		if (r >= 0)
			r = gpu_library_own(&l);
		gpu_library_close(&l);
	}
	if (r < 0)
		log_warn("process %d: its GPU memory was not given back: %s", t->s->pid, err_text());
	else
		log_info("process %d: has its GPU memory again", t->s->pid);
}

static int result_send(struct stream *t, int r)
{
	t->out.result = r < 0 ? r : 0;
	if (r < 0)
		snprintf(t->out.text, sizeof(t->out.text), "%s", err_text());
	if (send(t->s->channel, &t->out, sizeof(t->out), MSG_NOSIGNAL) < 0)
		return r;
	return r >= 0 && t->s->load ? gpu_pieces_send(t->s->channel, &t->pieces) : r;
}

static void stream_log(const struct stream *t)
{
	log_info("process %d: %s %lu MiB of GPU memory, %lu of them not zero, in %lu ms", t->s->pid,
		 t->s->load ? "loaded" : "saved", (unsigned long)(t->pieces.bytes >> 20),
		 (unsigned long)(t->out.bytes >> 20), (unsigned long)(t->out.ns / 1000000));
}

int gpu_stream_serve(const struct gpu_stream *s)
{
	struct stream t = { .s = s, .api = &s->driver->api, .payload_fd = -1, .out.from_ns = trace_now_ns() };
	char word;
	int r = head_receive(&t);

	if (r >= 0)
		r = stream_copy(&t);
	t.out.ns = since_begin(&t);
	if (r >= 0)
		stream_log(&t);
	r = result_send(&t, r);
	if (r < 0 && s->load && t.part && parts_do(&t, part_scrub) < 0)
		log_warn("%s", err_text());
	gpu_pools_release(s->pools, &t.holding);
	/* whoever says nothing any more was killed */
	if (recv(s->channel, &word, 1, 0) != 1 && !s->load)
		give_back(&t);
	room_make(&t, false);
	for (size_t i = 0; t.part && i < t.pieces.n; i++)
		part_release(&t, i);
	gpu_pieces_free(&t.pieces);
	free(t.part);
	close_fd(&t.payload_fd);
	return r;
}
