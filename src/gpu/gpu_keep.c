/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept on the GPUs (gpu_keep.h). The lock is never held over a call of the driver: an image is put into the
 * list when it is complete, and taken out before it goes. Whoever copies from one is counted, and it stays meanwhile.
 */
#include "gpu/gpu_keep.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/trace.h"
#include "gpu/gpu_give.h"

/* In parts of a GPU's memory: what may be kept on it unless the wish says more; what stays free behind that. */
enum { DEFAULT_PART = 4, SPARE_PART = 16 };

#define NS_PER_S UINT64_C(1000000000)

/* --- the list: call with the lock held ------------------------------------------------------------- */

static struct gpu_kept *kept_find(const struct gpu_keep *k, const struct gpu_image *image,
				  const struct gpu_part *part, size_t n)
{
	struct gpu_kept *e = k->first;

	while (e && !gpu_kept_is(e, image, part, n))
		e = e->next;
	return e;
}

static void kept_use(struct gpu_kept *e, const struct gpu_wish *wish)
{
	e->used_ns = trace_now_ns();
	e->seconds = wish->seconds;
	e->until_ns = e->used_ns + wish->seconds * NS_PER_S;
}

static uint64_t kept_on(const struct gpu_keep *k, size_t gpu)
{
	uint64_t sum = 0;

	for (const struct gpu_kept *e = k->first; e; e = e->next) {
		const struct gpu_hold *h = gpu_kept_hold(e, gpu);

		sum += h ? h->len : 0;
	}
	return sum;
}

/* --- use, and add ------------------------------------------------------------------------------------ */

int gpu_keep_use(struct gpu_keep *k, const struct gpu_image *image, const struct gpu_part *part, size_t n,
		 const struct gpu_wish *wish)
{
	struct gpu_kept *e;
	int r;

	gpu_give_stale(k, image);
	pthread_mutex_lock(&k->lock);
	e = kept_find(k, image, part, n);
	if (e) {
		e->users++;
		kept_use(e, wish);
	}
	pthread_mutex_unlock(&k->lock);
	if (!e)
		return 0;
	r = gpu_kept_copy(e, true, part, n);
	if (r < 0)
		log_warn("gpu: what is kept of %s could not be used: %s", e->path, err_text());
	pthread_mutex_lock(&k->lock);
	e->users--;
	e->hits += r >= 0;
	if (r < 0)
		e->until_ns = 0; /* the watcher's */
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	return r >= 0;
}

static int watcher_start(struct gpu_keep *k)
{
	int e = 0;

	pthread_mutex_lock(&k->lock);
	if (!k->watched)
		e = pthread_create(&k->watcher, NULL, gpu_give_watch, k);
	k->watched |= !e;
	pthread_mutex_unlock(&k->lock);
	return e ? err_set(e, "start the thread that watches what is kept") : 0;
}

/* Older ones make way as far as the limit wants it. */
static int limit_apply(struct gpu_keep *k, size_t gpu, uint64_t len, uint64_t limit)
{
	char have[32], most[32];
	uint64_t others, bytes = 0;

	if (len > limit)
		return err_say(EFBIG, "%s on GPU %zu are more than the %s that may be kept",
			       progress_bytes(have, sizeof(have), len), gpu, progress_bytes(most, sizeof(most), limit));
	do {
		pthread_mutex_lock(&k->lock);
		others = kept_on(k, gpu);
		pthread_mutex_unlock(&k->lock);
	} while (others + len > limit && gpu_give_oldest(k, gpu, "it makes way for a newer image", &bytes));
	return 0;
}

static uint64_t parts_on(const struct gpu_part *part, size_t n, size_t gpu)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += part[i].gpu == gpu ? part[i].len : 0;
	return sum;
}

static uint64_t largest_on(const struct gpu_part *part, size_t n, size_t gpu)
{
	uint64_t most = 0;

	for (size_t i = 0; i < n; i++)
		if (part[i].gpu == gpu && part[i].len > most)
			most = part[i].len;
	return most;
}

/* The part of e on one GPU. Behind it there must be room left: for the copy that makes memory a process's own. */
static int hold_add(struct gpu_keep *k, struct gpu_kept *e, size_t gpu, const struct gpu_wish *wish)
{
	uint64_t mem = k->driver->device[gpu].mem_len, len = parts_on(e->part, e->n_parts, gpu), bytes = 0;
	uint64_t largest = largest_on(e->part, e->n_parts, gpu), spare = mem / SPARE_PART;
	struct gpu_hold *h = &e->hold[e->n_holds];
	int r;

	if (!len)
		return 0;
	r = limit_apply(k, gpu, len, wish->bytes ? wish->bytes : mem / DEFAULT_PART);
	if (r < 0)
		return r;
	do {
		r = gpu_hold_make(k->driver, gpu, len, h);
		if (r >= 0 && gpu_hold_left(h) < (largest > spare ? largest : spare)) {
			gpu_hold_free(h);
			r = err_say(ENOMEM, "GPU %zu would become too full", gpu);
		}
	} while (r == -ENOMEM && gpu_give_oldest(k, gpu, "it makes way for a newer image", &bytes));
	e->n_holds += r >= 0;
	return r;
}

static int kept_fill(struct gpu_keep *k, struct gpu_kept *e, const struct gpu_part *part, const struct gpu_wish *wish)
{
	int r = 0;

	memcpy(e->part, part, e->n_parts * sizeof(*part));
	for (size_t i = 0; i < k->driver->n && r >= 0; i++)
		r = hold_add(k, e, i, wish);
	for (size_t i = 0; i < e->n_holds; i++)
		e->bytes += e->hold[i].len;
	return r < 0 ? r : gpu_kept_copy(e, false, part, e->n_parts);
}

int gpu_keep_add(struct gpu_keep *k, const struct gpu_image *image, const char *path, const struct gpu_part *part,
		 size_t n, const struct gpu_wish *wish)
{
	struct gpu_kept *e = calloc(1, sizeof(*e)), *twin;
	int r;

	if (e)
		e->part = calloc(n + 1, sizeof(*part));
	if (!e || !e->part) {
		free(e);
		return err_set(ENOMEM, "keep GPU memory");
	}
	e->image = *image;
	e->n_parts = n;
	strncpy(e->path, path, sizeof(e->path) - 1);
	r = gpu_hold_possible(k->driver) ? watcher_start(k) : err_say(ENOTSUP, "this NVIDIA driver has no calls for it");
	if (r >= 0)
		r = kept_fill(k, e, part, wish);
	if (r < 0) {
		gpu_kept_free(e);
		return r;
	}
	kept_use(e, wish);
	e->made_ns = e->used_ns;
	pthread_mutex_lock(&k->lock);
	twin = kept_find(k, image, part, n);
	if (!twin) {
		e->next = k->first;
		k->first = e;
	}
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	if (twin) /* of a restore that ran beside this one */
		gpu_kept_free(e);
	return 0;
}

/* --- the whole --------------------------------------------------------------------------------------- */

bool gpu_keep_any(struct gpu_keep *k)
{
	bool any;

	pthread_mutex_lock(&k->lock);
	any = k->first;
	pthread_mutex_unlock(&k->lock);
	return any;
}

void gpu_keep_init(struct gpu_keep *k, const struct gpu_driver *d, int wake_fd)
{
	pthread_condattr_t attr;

	*k = (struct gpu_keep){ .driver = d, .wake_fd = wake_fd };
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->changed, &attr);
	pthread_condattr_destroy(&attr);
}

void gpu_keep_end(struct gpu_keep *k)
{
	pthread_mutex_lock(&k->lock);
	k->ending = true;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	if (k->watched)
		pthread_join(k->watcher, NULL);
	(void)gpu_give_all(k);
}
