/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of GPU memory (gpu_hold.h). The context is current only inside these functions: threads come and go. */
#include "gpu/gpu_hold.h"

#include "base/log.h"

bool gpu_hold_possible(const struct gpu_driver *d)
{
	const struct cuda_api *a = &d->api;

	return a->mem_info && a->copy_within && a->mem_set_async && a->place_reserve && a->place_free &&
	       a->piece_create && a->piece_release && a->piece_map && a->piece_unmap && a->piece_access;
}

static int enter(const struct gpu_hold *h)
{
	return cuda_check(&h->driver->api, h->driver->api.ctx_push(h->ctx), "GPU %zu: use a context", h->gpu);
}

static void leave(const struct gpu_hold *h)
{
	cuda_ctx ctx;

	h->driver->api.ctx_pop(&ctx);
}

/* What was got before something failed stays in h. */
static int memory_make(struct gpu_hold *h)
{
	const struct cuda_api *a = &h->driver->api;
	int device = h->driver->device[h->gpu].handle;
	struct cuda_piece_kind kind = { .type = CUDA_PINNED, .place_type = CUDA_ON_DEVICE, .place = device };
	struct cuda_access access = { CUDA_ON_DEVICE, device, CUDA_READ_WRITE };
	cuda_ptr at = 0;
	int r = cuda_check(a, a->piece_create(&h->handle, h->len, &kind, 0), "get memory");

	if (r >= 0)
		r = cuda_check(a, a->place_reserve(&at, h->len, GPU_PAGE, 0, 0), "reserve addresses");
	if (r < 0)
		return r;
	r = cuda_check(a, a->piece_map(at, h->len, 0, h->handle, 0), "map memory");
	if (r < 0) {
		a->place_free(at, h->len);
		return r;
	}
	h->at = at;
	return cuda_check(a, a->piece_access(at, h->len, &access, 1), "map memory");
}

static void memory_free(struct gpu_hold *h)
{
	const struct cuda_api *a = &h->driver->api;

	if (h->at) {
		a->piece_unmap(h->at, h->len);
		a->place_free(h->at, h->len);
	}
	if (h->handle)
		a->piece_release(h->handle);
	h->at = 0;
	h->handle = 0;
}

int gpu_hold_make(const struct gpu_driver *d, size_t gpu, uint64_t len, struct gpu_hold *ret)
{
	struct gpu_hold h = { .driver = d, .gpu = gpu, .len = len };
	int device = d->device[gpu].handle;
	int r = cuda_check(&d->api, d->api.primary_retain(&h.ctx, device), "GPU %zu: make a context", gpu);

	if (r < 0)
		return r;
	r = enter(&h);
	if (r >= 0) {
		r = err_ctx(memory_make(&h), "GPU %zu: keep %lu MiB", gpu, (unsigned long)(len >> 20));
		if (r < 0)
			memory_free(&h);
		leave(&h);
	}
	if (r < 0)
		d->api.primary_release(device);
	else
		*ret = h;
	return r;
}

/* Overwritten first: the driver may hand it to anybody. */
void gpu_hold_free(struct gpu_hold *h)
{
	const struct cuda_api *a = &h->driver->api;
	int r = enter(h);

	if (r >= 0) {
		r = cuda_check(a, a->mem_set(h->at, 0, h->len), "GPU %zu: overwrite memory", h->gpu);
		if (r >= 0)
			r = cuda_check(a, a->ctx_sync(), "GPU %zu: overwrite memory", h->gpu);
		memory_free(h);
		leave(h);
	}
	if (r < 0)
		log_warn("%s", err_text());
	a->primary_release(h->driver->device[h->gpu].handle);
}

static int copy_parts(const struct gpu_hold *h, bool out, const struct gpu_part *part, size_t n, cuda_stream stream)
{
	const struct cuda_api *a = &h->driver->api;
	uint64_t at = 0;
	int r = 0;

	for (size_t i = 0; i < n && !r; i++) {
		cuda_ptr mine = h->at + at;

		if (part[i].gpu != h->gpu)
			continue;
		if (part[i].len > h->len - at)
			return err_say(EINVAL, "GPU %zu: there is more to copy than is kept", h->gpu);
		r = a->copy_within(out ? part[i].at : mine, out ? mine : part[i].at, part[i].len, stream);
		at += part[i].len;
	}
	if (!r)
		r = a->stream_sync(stream);
	return cuda_check(a, r, "GPU %zu: copy on the GPU", h->gpu);
}

int gpu_hold_copy(const struct gpu_hold *h, bool out, const struct gpu_part *part, size_t n)
{
	const struct cuda_api *a = &h->driver->api;
	cuda_stream stream = NULL;
	int r = enter(h);

	if (r < 0)
		return r;
	r = cuda_check(a, a->stream_create(&stream, CUDA_STREAM_NON_BLOCKING), "GPU %zu: make a stream", h->gpu);
	if (r >= 0) {
		r = copy_parts(h, out, part, n, stream);
		a->stream_destroy(stream);
	}
	leave(h);
	return r;
}

uint64_t gpu_hold_left(const struct gpu_hold *h)
{
	size_t left = 0, all;

	if (enter(h) < 0)
		return 0;
	if (h->driver->api.mem_info(&left, &all))
		left = 0;
	leave(h);
	return left;
}
