/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Context pools (gpu_pool.h). The lock is never held over a call of the driver: what is made is put into the list
 * when it is complete, what is to go is taken out first.
 */
#include "gpu/gpu_pool.h"

#include <string.h>

#include "base/log.h"
#include "base/trace.h"

static void slot_add(struct gpu_pool *p, struct gpu_slot *s)
{
	pthread_mutex_lock(&p->lock);
	s->next = p->first;
	p->first = s;
	pthread_cond_broadcast(&p->filled);
	pthread_mutex_unlock(&p->lock);
}

/* Call with the lock held. */
static void slot_unlink(struct gpu_pool *p, const struct gpu_slot *s)
{
	struct gpu_slot **at = &p->first;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
}

/* Destroys all free slots; those that are held go with their release. */
static void slots_drop(struct gpu_pool *p)
{
	struct gpu_slot *s;

	do {
		pthread_mutex_lock(&p->lock);
		for (s = p->first; s && s->pid; s = s->next)
			s->extra = true;
		if (s)
			slot_unlink(p, s);
		pthread_mutex_unlock(&p->lock);
		if (s)
			gpu_slot_destroy(s);
	} while (s);
}

static bool ending(struct gpu_pool *p)
{
	bool yes;

	pthread_mutex_lock(&p->lock);
	yes = p->ending;
	pthread_mutex_unlock(&p->lock);
	return yes;
}

/* All of the pool's slots, or on failure none. */
static int pool_fill(struct gpu_pool *p)
{
	uint64_t from = trace_now_ns();
	int r = 0;

	for (size_t i = 0; i < p->size && r >= 0 && !ending(p); i++) {
		struct gpu_slot *s;

		r = gpu_slot_make(p->driver, p->gpu, true, &s);
		if (r >= 0)
			slot_add(p, s);
	}
	if (r >= 0)
		log_info("GPU %zu: pool of %zu contexts made in %zu ms", p->gpu, p->size,
			 (size_t)((trace_now_ns() - from) / 1000000));
	else
		log_warn("GPU %zu: goes without a context pool: %s", p->gpu, err_text());
	return r;
}

static void *filler(void *arg)
{
	struct gpu_pool *p = arg;
	int r = pool_fill(p);

	pthread_mutex_lock(&p->lock);
	p->filling = false;
	if (r < 0) {
		p->given_up = true;
		p->given_up_ns = trace_now_ns();
	}
	pthread_cond_broadcast(&p->filled);
	pthread_mutex_unlock(&p->lock);
	if (r < 0)
		slots_drop(p);
	return NULL;
}

static int filler_start(struct gpu_pool *p)
{
	int e;

	p->filling = true;
	e = pthread_create(&p->filler, NULL, filler, p);
	if (e) {
		p->filling = false;
		return err_set(e, "GPU %zu: start the thread that fills its context pool", p->gpu);
	}
	p->started = true;
	return 0;
}

int gpu_pools_start(struct gpu_pools *p, const struct gpu_driver *d, size_t size)
{
	*p = (struct gpu_pools){ .driver = d };
	for (size_t i = 0; i < d->n; i++) {
		struct gpu_pool *one = &p->pool[i];
		int r;

		one->driver = d;
		one->gpu = i;
		one->size = size;
		pthread_mutex_init(&one->lock, NULL);
		pthread_cond_init(&one->filled, NULL);
		r = filler_start(one);
		if (r < 0) {
			gpu_pools_end(p);
			return r;
		}
	}
	return 0;
}

void gpu_pools_end(struct gpu_pools *p)
{
	for (size_t i = 0; i < p->driver->n; i++) {
		struct gpu_pool *one = &p->pool[i];

		if (!one->started)
			continue;
		pthread_mutex_lock(&one->lock);
		one->ending = true;
		pthread_mutex_unlock(&one->lock);
		pthread_join(one->filler, NULL);
		one->started = false;
		slots_drop(one);
	}
}

void gpu_pools_give_up(struct gpu_pools *p)
{
	for (size_t i = 0; i < p->driver->n; i++) {
		struct gpu_pool *one = &p->pool[i];

		pthread_mutex_lock(&one->lock);
		one->ending = true;
		while (one->filling)
			pthread_cond_wait(&one->filled, &one->lock);
		one->ending = false;
		one->given_up = true;
		one->given_up_ns = trace_now_ns();
		pthread_mutex_unlock(&one->lock);
		slots_drop(one);
	}
}

void gpu_pools_refill(struct gpu_pools *p, uint64_t after_ns)
{
	for (size_t i = 0; i < p->driver->n; i++) {
		struct gpu_pool *one = &p->pool[i];
		bool again;

		pthread_mutex_lock(&one->lock);
		again = one->given_up && one->given_up_ns + after_ns <= trace_now_ns();
		one->given_up &= !again;
		pthread_mutex_unlock(&one->lock);
		if (!again)
			continue;
		pthread_join(one->filler, NULL);
		one->started = false;
		if (filler_start(one) < 0)
			log_warn("%s", err_text());
	}
}

/* A free slot, or NULL. One that has buffers when they are needed. */
static struct gpu_slot *slot_take(struct gpu_pool *p, const struct gpu_want *want)
{
	struct gpu_slot *s;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		for (s = p->first; s && (s->pid || s->extra); s = s->next)
			;
		if (s || !p->filling || !want->buffers)
			break;
		pthread_cond_wait(&p->filled, &p->lock);
	}
	if (s) {
		s->pid = want->pid;
		s->since_ns = trace_now_ns();
	}
	pthread_mutex_unlock(&p->lock);
	return s;
}

static bool not_filled(struct gpu_pool *p)
{
	bool yes;

	pthread_mutex_lock(&p->lock);
	yes = p->filling || p->given_up;
	pthread_mutex_unlock(&p->lock);
	return yes;
}

/* One slot. *ret NULL: none is free, and it goes without. */
static int pool_acquire(struct gpu_pool *p, const struct gpu_want *want, struct gpu_slot **ret)
{
	struct gpu_slot *s = slot_take(p, want);
	int r;

	*ret = s;
	if (s) {
		log_info("using pooled context for PID %d (GPU %zu)", want->pid, p->gpu);
		return 0;
	}
	if (want->if_free || (!want->buffers && not_filled(p)))
		return 0;
	log_warn("context pool exhausted: GPU %zu: making one for PID %d", p->gpu, want->pid);
	r = gpu_slot_make(p->driver, p->gpu, want->buffers, &s);
	if (r < 0)
		return r;
	s->extra = true;
	s->pid = want->pid;
	s->since_ns = trace_now_ns();
	slot_add(p, s);
	*ret = s;
	return 0;
}

static void pool_release(struct gpu_pool *p, struct gpu_slot *s)
{
	int r = gpu_slot_scrub(s);
	bool gone;

	if (r < 0)
		log_warn("%s: the context is given up", err_text());
	pthread_mutex_lock(&p->lock);
	gone = s->extra || r < 0;
	if (gone)
		slot_unlink(p, s);
	s->pid = 0;
	pthread_mutex_unlock(&p->lock);
	if (gone)
		gpu_slot_destroy(s);
}

int gpu_pools_acquire(struct gpu_pools *p, const struct gpu_want *want, struct gpu_holding *ret)
{
	int r = 0;

	ret->n = 0;
	for (size_t i = 0; i < p->driver->n && r >= 0; i++) {
		struct gpu_slot *s = NULL;

		if (want->gpus & 1u << i)
			r = pool_acquire(&p->pool[i], want, &s);
		if (s)
			ret->slot[ret->n++] = s;
	}
	if (r < 0)
		gpu_pools_release(p, ret);
	return r;
}

void gpu_pools_release(struct gpu_pools *p, struct gpu_holding *h)
{
	while (h->n) {
		struct gpu_slot *s = h->slot[--h->n];

		pool_release(&p->pool[s->gpu], s);
	}
}
