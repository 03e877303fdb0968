/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of the context pool (gpu_slot.h). The context is current only inside these functions: threads come and go. */
#include "gpu/gpu_slot.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static int enter(const struct gpu_slot *s)
{
	return cuda_check(s->api, s->api->ctx_push(s->ctx), "GPU %zu: use a context", s->gpu);
}

static void leave(const struct gpu_slot *s)
{
	cuda_ctx ctx;

	s->api->ctx_pop(&ctx);
}

static int contents_make(struct gpu_slot *s, bool buffers)
{
	int r = cuda_check(s->api, s->api->stream_create(&s->stream, CUDA_STREAM_NON_BLOCKING), "GPU %zu: make a stream",
			   s->gpu);

	for (size_t i = 0; i < GPU_BUFFERS && buffers && r >= 0; i++)
		r = cuda_check(s->api, s->api->host_alloc(&s->buffer[i], GPU_BUFFER_LEN, CUDA_HOST_ALLOC_PORTABLE),
			       "GPU %zu: pin %d MiB of memory", s->gpu, GPU_BUFFER_LEN >> 20);
	return r;
}

int gpu_slot_make(const struct gpu_driver *d, size_t gpu, bool buffers, struct gpu_slot **ret)
{
	struct gpu_slot *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(ENOMEM, "GPU %zu: make a context", gpu);
	s->api = &d->api;
	s->gpu = gpu;
	s->device = d->device[gpu].handle;
	r = cuda_check(s->api, s->api->primary_retain(&s->ctx, s->device), "GPU %zu: make a context", gpu);
	if (r >= 0)
		r = enter(s);
	if (r >= 0) {
		r = contents_make(s, buffers);
		leave(s);
	}
	if (r < 0)
		gpu_slot_destroy(s);
	else
		*ret = s;
	return r;
}

/* Goes through all even if one fails: the rest comes with the context, once nobody holds it. */
void gpu_slot_destroy(struct gpu_slot *s)
{
	if (s->ctx && enter(s) >= 0) {
		for (size_t i = 0; i < GPU_BUFFERS; i++)
			if (s->buffer[i])
				s->api->host_free(s->buffer[i]);
		if (s->stream)
			s->api->stream_destroy(s->stream);
		leave(s);
	}
	if (s->ctx)
		s->api->primary_release(s->device);
	free(s);
}

void *gpu_slot_buffer(struct gpu_slot *s, size_t i, size_t len)
{
	if (len > s->used_len[i])
		s->used_len[i] = len;
	return s->buffer[i];
}

int gpu_slot_mem(struct gpu_slot *s, size_t len, cuda_ptr *ret)
{
	int r = s->mem_len ? err_say(EBUSY, "GPU %zu: the context holds memory already", s->gpu) : enter(s);

	if (r < 0)
		return r;
	r = cuda_check(s->api, s->api->mem_alloc(&s->mem, len), "GPU %zu: get %zu MiB of memory", s->gpu, len >> 20);
	leave(s);
	if (r < 0)
		return r;
	s->mem_len = len;
	*ret = s->mem;
	return 0;
}

/* The memory is given back even when it could not be overwritten: the caller destroys the context then. */
static int mem_scrub(struct gpu_slot *s)
{
	int r = enter(s);

	if (r < 0)
		return r;
	r = cuda_check(s->api, s->api->mem_set(s->mem, 0, s->mem_len), "GPU %zu: overwrite memory", s->gpu);
	if (r >= 0)
		r = cuda_check(s->api, s->api->ctx_sync(), "GPU %zu: overwrite memory", s->gpu);
	if (r >= 0)
		r = cuda_check(s->api, s->api->mem_free(s->mem), "GPU %zu: give back memory", s->gpu);
	leave(s);
	s->mem_len = 0;
	return r;
}

int gpu_slot_scrub(struct gpu_slot *s)
{
	for (size_t i = 0; i < GPU_BUFFERS; i++) {
		if (s->used_len[i])
			explicit_bzero(s->buffer[i], s->used_len[i]);
		s->used_len[i] = 0;
	}
	return s->mem_len ? mem_scrub(s) : 0;
}
