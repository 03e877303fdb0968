/* SPDX-License-Identifier: Apache-2.0 */
/* The crews that copy (gpu_copy.h). */
#include "gpu/gpu_copy.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gpu/gpu_payload.h"

/* Sixteen fit into a slot's buffers. Smaller: the bus waits for calls; larger: fewer hands. */
enum { CHUNK = 4 << 20, CREW_MOST = GPU_BUFFERS * GPU_BUFFER_LEN / CHUNK, EACH = GPU_BUFFER_LEN / CHUNK };

/* All that a GPU's crew shares. */
struct lane {
	const struct gpu_copy *c;
	struct gpu_slot *slot;
	struct gpu_payload *payload;
	_Atomic uint64_t next;     /* chunk, of all parts on this GPU */
	_Atomic uint64_t bytes;
	_Atomic bool failed;
	pthread_mutex_t lock;
	int result;                /* the first failure */
	char text[256];
};

struct hand {
	struct lane *lane;
	pthread_t thread;
	void *buffer;
	cuda_stream stream;
};

static void lane_fail(struct lane *l, int r)
{
	pthread_mutex_lock(&l->lock);
	if (!l->failed) {
		l->result = r;
		snprintf(l->text, sizeof(l->text), "%s", err_text());
	}
	l->failed = true;
	pthread_mutex_unlock(&l->lock);
}

static bool is_zero(const void *p, size_t len)
{
	const uint64_t *w = p;

	/* most pages that hold something show it at once */
	for (size_t i = 0; i < len / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

static int stream_wait(const struct hand *h, int r, const char *what)
{
	const struct cuda_api *api = h->lane->slot->api;

	if (!r)
		r = api->stream_sync(h->stream);
	return cuda_check(api, r, "%s", what);
}

/* In the file everything is whole pages. */
static size_t whole(size_t len)
{
	return (len + GPU_PAGE - 1) & ~(size_t)(GPU_PAGE - 1);
}

/* Runs of pages that hold something. */
static int chunk_save(struct hand *h, cuda_ptr at, uint64_t offset, size_t part_len)
{
	int r = stream_wait(h, h->lane->slot->api->copy_out(h->buffer, at, part_len, h->stream), "copy GPU memory out");
	size_t len = whole(part_len);
	char *page = h->buffer;

	memset(page + part_len, 0, len - part_len);

	for (size_t from = 0, to; from < len && r >= 0; from = to) {
		for (to = from; to < len && !is_zero(page + to, GPU_PAGE); to += GPU_PAGE)
			;
		if (to == from) {
			to += GPU_PAGE;
			continue;
		}
		r = gpu_payload_write(h->lane->payload, page + from, offset + from, to - from);
		h->lane->bytes += to - from;
	}
	return r;
}

/* Holes are zeros, and a whole hole is not even read. */
static int chunk_load(struct hand *h, cuda_ptr at, uint64_t offset, size_t len)
{
	const struct cuda_api *api = h->lane->slot->api;
	int r;

	if (gpu_payload_is_hole(h->lane->payload, offset, whole(len)))
		return stream_wait(h, api->mem_set_async(at, 0, len, h->stream), "clear GPU memory");
	r = gpu_payload_read(h->lane->payload, h->buffer, offset, whole(len));
	if (r < 0)
		return r;
	h->lane->bytes += len;
	return stream_wait(h, api->copy_in(at, h->buffer, len, h->stream), "copy GPU memory in");
}

/* The k-th chunk of the lane's GPU; false: there are no more. */
static bool chunk_find(const struct lane *l, uint64_t k, cuda_ptr *at, uint64_t *offset, size_t *len)
{
	for (size_t i = 0; i < l->c->n; i++) {
		const struct gpu_part *p = &l->c->part[i];
		uint64_t n = p->gpu == l->slot->gpu ? (p->len + CHUNK - 1) / CHUNK : 0;

		if (k < n) {
			*at = p->at + k * CHUNK;
			*offset = p->offset + k * CHUNK;
			*len = p->len - k * CHUNK < CHUNK ? (size_t)(p->len - k * CHUNK) : CHUNK;
			return true;
		}
		k -= n;
	}
	return false;
}

static int hand_work(struct hand *h)
{
	struct lane *l = h->lane;
	const struct cuda_api *api = l->slot->api;
	uint64_t offset;
	cuda_ptr at;
	size_t len;
	int r = cuda_check(api, api->stream_create(&h->stream, CUDA_STREAM_NON_BLOCKING), "make a stream");

	if (r < 0)
		return r;
	while (r >= 0 && !l->failed && chunk_find(l, l->next++, &at, &offset, &len))
		r = l->c->load ? chunk_load(h, at, offset, len) : chunk_save(h, at, offset, len);
	api->stream_destroy(h->stream);
	return r;
}

static void *hand_thread(void *arg)
{
	struct hand *h = arg;
	const struct cuda_api *api = h->lane->slot->api;
	int r = cuda_check(api, api->ctx_push(h->lane->slot->ctx), "use a context");
	cuda_ctx ctx;

	if (r >= 0) {
		r = hand_work(h);
		api->ctx_pop(&ctx);
	}
	if (r < 0)
		lane_fail(h->lane, r);
	return NULL;
}

/* Two for each CPU: one may wait for the file while the other moves bytes. A disk keeps as many busy as there are. */
static size_t crew_size(bool cold)
{
	cpu_set_t set;
	size_t n = sched_getaffinity(0, sizeof(set), &set) ? 4 : 2 * (size_t)CPU_COUNT(&set);

	return n < CREW_MOST && !cold ? n : CREW_MOST;
}

static void lane_start(struct lane *l, struct hand hand[CREW_MOST], size_t *n)
{
	for (size_t i = 0; i < crew_size(l->payload->cold); i++) {
		struct hand *h = &hand[(*n)];

		*h = (struct hand){ .lane = l };
		h->buffer = (char *)gpu_slot_buffer(l->slot, i / EACH, GPU_BUFFER_LEN) + i % EACH * CHUNK;
		if (!pthread_create(&h->thread, NULL, hand_thread, h))
			(*n)++;
	}
	if (!*n)
		lane_fail(l, err_set(EAGAIN, "start threads that copy GPU memory"));
}

static uint64_t payload_len(const struct gpu_copy *c)
{
	return c->n ? c->part[c->n - 1].offset + whole(c->part[c->n - 1].len) : 0;
}

int gpu_copy_run(const struct gpu_copy *c, struct gpu_slot *const *slots, size_t n_slots, uint64_t *ret_bytes)
{
	struct lane *lane = calloc(n_slots, sizeof(*lane));
	struct hand (*crew)[CREW_MOST] = calloc(n_slots, sizeof(*crew));
	struct gpu_payload payload;
	size_t n[GPU_MOST] = { 0 };
	int r = lane && crew ? 0 : err_set(ENOMEM, "copy GPU memory");

	gpu_payload_open(c->payload_fd, c->load, payload_len(c), &payload);
	for (size_t i = 0; r >= 0 && i < n_slots; i++) {
		lane[i].c = c;
		lane[i].slot = slots[i];
		lane[i].payload = &payload;
		pthread_mutex_init(&lane[i].lock, NULL);
		lane_start(&lane[i], crew[i], &n[i]);
	}
	*ret_bytes = 0;
	for (size_t i = 0; lane && crew && i < n_slots; i++) {
		for (size_t k = 0; k < n[i]; k++)
			pthread_join(crew[i][k].thread, NULL);
		*ret_bytes += lane[i].bytes;
		if (lane[i].failed && r >= 0)
			r = err_adopt(-lane[i].result, lane[i].text);
	}
	if (r >= 0 && c->load)
		log_info("%lu of %lu MiB of GPU memory were read past the page cache", (unsigned long)(payload.past >> 20),
			 (unsigned long)(*ret_bytes >> 20));
	gpu_payload_close(&payload);
	free(lane);
	free(crew);
	return r;
}
