/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept goes (gpu_give.h). */
#include "gpu/gpu_give.h"

#include <unistd.h>

#include "base/log.h"
#include "base/progress.h"
#include "base/trace.h"

/* So much of a GPU's memory is left to others at any time, in parts of it. */
enum { FULL_PART = 32 };

#define NS_PER_S UINT64_C(1000000000)
#define LOOK_NS  NS_PER_S /* how often free memory is looked at */

/* Call with the lock held. */
static void kept_unlink(struct gpu_keep *k, const struct gpu_kept *e)
{
	struct gpu_kept **at = &k->first;

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
}

/* The one that was not used for longest, of those on the GPU (GPU_MOST: on any). Call with the lock held. */
static struct gpu_kept *kept_oldest(const struct gpu_keep *k, size_t gpu)
{
	struct gpu_kept *oldest = NULL;

	for (struct gpu_kept *e = k->first; e; e = e->next)
		if ((gpu == GPU_MOST || gpu_kept_hold(e, gpu)) && (!oldest || e->used_ns < oldest->used_ns))
			oldest = e;
	return oldest;
}

/* e was taken out of the list. */
static uint64_t give_up(struct gpu_keep *k, struct gpu_kept *e, const char *why)
{
	const uint64_t one = 1, bytes = e->bytes;
	char text[32];

	log_info("gpu: gave up %s of %s: %s", progress_bytes(text, sizeof(text), bytes), e->path, why);
	gpu_kept_free(e);
	if (k->wake_fd >= 0)
		(void)!write(k->wake_fd, &one, sizeof(one));
	return bytes;
}

bool gpu_give_oldest(struct gpu_keep *k, size_t gpu, const char *why, uint64_t *bytes)
{
	struct gpu_kept *e;

	pthread_mutex_lock(&k->lock);
	while ((e = kept_oldest(k, gpu)) && e->users)
		pthread_cond_wait(&k->changed, &k->lock); /* for some milliseconds */
	if (e)
		kept_unlink(k, e);
	pthread_mutex_unlock(&k->lock);
	if (e)
		*bytes += give_up(k, e, why);
	return e;
}

/* Whether anything is kept on the GPU while less than need is free there. */
static bool too_full(struct gpu_keep *k, size_t gpu, uint64_t need)
{
	struct gpu_kept *e;
	bool full;

	pthread_mutex_lock(&k->lock);
	e = kept_oldest(k, gpu);
	if (e)
		e->users++;
	pthread_mutex_unlock(&k->lock);
	if (!e)
		return false;
	full = gpu_hold_left(gpu_kept_hold(e, gpu)) < need;
	pthread_mutex_lock(&k->lock);
	e->users--;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	return full;
}

void gpu_give_room(struct gpu_keep *k, size_t gpu, uint64_t need, const char *why)
{
	uint64_t bytes = 0;

	while (too_full(k, gpu, need) && gpu_give_oldest(k, gpu, why, &bytes))
		;
}

uint64_t gpu_give_all(struct gpu_keep *k)
{
	uint64_t bytes = 0;

	while (gpu_give_oldest(k, GPU_MOST, "all that is kept has to go", &bytes))
		;
	return bytes;
}

void gpu_give_stale(struct gpu_keep *k, const struct gpu_image *image)
{
	struct gpu_kept *e;

	do {
		pthread_mutex_lock(&k->lock);
		e = k->first;
		while (e && (e->users || e->image.dev != image->dev || e->image.ino != image->ino ||
			     gpu_image_same(&e->image, image)))
			e = e->next;
		if (e)
			kept_unlink(k, e);
		pthread_mutex_unlock(&k->lock);
		if (e)
			give_up(k, e, "the image was changed");
	} while (e);
}

/* One whose time is over, out of the list; or NULL, and when the next one's will be (0: never). */
static struct gpu_kept *expired_take(struct gpu_keep *k, uint64_t *ret_next_ns)
{
	*ret_next_ns = 0;
	for (struct gpu_kept *e = k->first; e; e = e->next) {
		if (e->users) /* who used it wakes the watcher */
			continue;
		if (e->until_ns <= trace_now_ns()) {
			kept_unlink(k, e);
			return e;
		}
		if (!*ret_next_ns || e->until_ns < *ret_next_ns)
			*ret_next_ns = e->until_ns;
	}
	return NULL;
}

/* Call with the lock held: until something is to be looked at again. */
static void watch_pause(struct gpu_keep *k, uint64_t next_ns)
{
	uint64_t look = trace_now_ns() + LOOK_NS, until = next_ns < look ? next_ns : look;
	struct timespec t = { .tv_sec = (time_t)(until / NS_PER_S), .tv_nsec = (long)(until % NS_PER_S) };

	if (next_ns)
		pthread_cond_timedwait(&k->changed, &k->lock, &t);
	else
		pthread_cond_wait(&k->changed, &k->lock);
}

void *gpu_give_watch(void *keep)
{
	struct gpu_keep *k = keep;

	pthread_mutex_lock(&k->lock);
	while (!k->ending) {
		uint64_t next_ns;
		struct gpu_kept *e = expired_take(k, &next_ns);

		if (!e)
			watch_pause(k, next_ns);
		pthread_mutex_unlock(&k->lock);
		if (e)
			give_up(k, e, "its time is over");
		for (size_t i = 0; i < k->driver->n; i++)
			gpu_give_room(k, i, k->driver->device[i].mem_len / FULL_PART, "the GPU is nearly full");
		pthread_mutex_lock(&k->lock);
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}
