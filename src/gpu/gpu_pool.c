/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Context pools (gpu_pool.h). The lock is never held over a call of the driver: what is made is put into the list
 * when it is complete, what is to go is taken out first.
 */
#include "gpu/gpu_pool.h"

#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/trace.h"

/* A dump or restore is a series of steps: between two of them nothing is begun that the second would wait for. */
#define QUIET_NS UINT64_C(300000000)

static void slot_add(struct gpu_pool *p, struct gpu_slot *s)
{
	pthread_mutex_lock(&p->all->lock);
	s->next = p->first;
	p->first = s;
	pthread_cond_broadcast(&p->all->changed);
	pthread_mutex_unlock(&p->all->lock);
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
		pthread_mutex_lock(&p->all->lock);
		for (s = p->first; s && s->pid; s = s->next)
			s->extra = true;
		if (s)
			slot_unlink(p, s);
		pthread_mutex_unlock(&p->all->lock);
		if (s)
			gpu_slot_destroy(s);
	} while (s);
}

/* Waits until the next slot may be made; false: it is not wanted any more. */
static bool quiet_wait(struct gpu_pool *p)
{
	struct gpu_pools *all = p->all;
	bool go_on;

	pthread_mutex_lock(&all->lock);
	while (!p->ending && !all->waiting) {
		uint64_t until = all->quiet_ns + QUIET_NS;
		struct timespec t = { .tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000) };

		if (all->steps)
			pthread_cond_wait(&all->changed, &all->lock);
		else if (trace_now_ns() < until)
			pthread_cond_timedwait(&all->changed, &all->lock, &t);
		else
			break;
	}
	go_on = !p->ending;
	pthread_mutex_unlock(&all->lock);
	return go_on;
}

/* All of the pool's slots, or on failure none. */
static int pool_fill(struct gpu_pool *p)
{
	size_t n = 0;
	int r = 0;

	for (; n < p->all->size && r >= 0 && quiet_wait(p); n++) {
		struct gpu_slot *s;

		r = gpu_slot_make(p->all->driver, p->gpu, true, &s);
		if (r >= 0)
			slot_add(p, s);
	}
	if (r >= 0)
		log_info("GPU %zu: %zu contexts are ready", p->gpu, n);
	else
		log_warn("GPU %zu: goes without a context pool: %s", p->gpu, err_text());
	return r;
}

/* Call with the lock held. */
static void give_up(struct gpu_pool *p)
{
	p->given_up = true;
	p->given_up_ns = trace_now_ns();
}

static void *filler(void *arg)
{
	struct gpu_pool *p = arg;
	int r = pool_fill(p);

	pthread_mutex_lock(&p->all->lock);
	p->filling = false;
	if (r < 0)
		give_up(p);
	pthread_cond_broadcast(&p->all->changed);
	pthread_mutex_unlock(&p->all->lock);
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
	pthread_condattr_t attr;
	int r = 0;

	*p = (struct gpu_pools){ .driver = d, .size = size, .quiet_ns = trace_now_ns() };
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &attr);
	pthread_condattr_destroy(&attr);
	for (size_t i = 0; i < d->n && r >= 0; i++) {
		p->pool[i].all = p;
		p->pool[i].gpu = i;
		r = filler_start(&p->pool[i]);
	}
	if (r < 0)
		gpu_pools_end(p);
	return r;
}

void gpu_pools_end(struct gpu_pools *p)
{
	for (size_t i = 0; i < p->driver->n; i++) {
		struct gpu_pool *one = &p->pool[i];

		if (!one->started)
			continue;
		pthread_mutex_lock(&p->lock);
		one->ending = true;
		pthread_cond_broadcast(&p->changed);
		pthread_mutex_unlock(&p->lock);
		pthread_join(one->filler, NULL);
		one->started = false;
		slots_drop(one);
	}
}

void gpu_pools_give_up(struct gpu_pools *p)
{
	for (size_t i = 0; i < p->driver->n; i++) {
		struct gpu_pool *one = &p->pool[i];

		pthread_mutex_lock(&p->lock);
		one->ending = true;
		pthread_cond_broadcast(&p->changed);
		while (one->filling)
			pthread_cond_wait(&p->changed, &p->lock);
		one->ending = false;
		give_up(one);
		pthread_mutex_unlock(&p->lock);
		slots_drop(one);
	}
}

void gpu_pools_refill(struct gpu_pools *p, uint64_t after_ns)
{
	for (size_t i = 0; i < p->driver->n; i++) {
		struct gpu_pool *one = &p->pool[i];
		bool again;

		pthread_mutex_lock(&p->lock);
		again = one->given_up && one->given_up_ns + after_ns <= trace_now_ns();
		one->given_up &= !again;
		pthread_mutex_unlock(&p->lock);
		if (!again)
			continue;
		pthread_join(one->filler, NULL);
		one->started = false;
		if (filler_start(one) < 0)
			log_warn("%s", err_text());
	}
}

void gpu_pools_step(struct gpu_pools *p, int more)
{
	pthread_mutex_lock(&p->lock);
	p->steps += (size_t)more;
	p->quiet_ns = trace_now_ns();
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* Call with the lock held. */
static struct gpu_slot *slot_free(const struct gpu_pool *p)
{
	struct gpu_slot *s = p->first;

	while (s && (s->pid || s->extra))
		s = s->next;
	return s;
}

/* A free slot, or NULL; *ret_filled: there is a pool, so that it is exhausted. */
static struct gpu_slot *slot_take(struct gpu_pool *p, const struct gpu_want *want, bool *ret_filled)
{
	struct gpu_pools *all = p->all;
	struct gpu_slot *s;

	pthread_mutex_lock(&all->lock);
	all->waiting += want->buffers;
	pthread_cond_broadcast(&all->changed);
	while (!(s = slot_free(p)) && p->filling && want->buffers)
		pthread_cond_wait(&all->changed, &all->lock);
	all->waiting -= want->buffers;
	if (s) {
		s->pid = want->pid;
		s->since_ns = trace_now_ns();
	}
	*ret_filled = !p->filling && !p->given_up;
	pthread_mutex_unlock(&all->lock);
	return s;
}

/* One slot. *ret NULL: none is free, and it goes without. */
static int pool_acquire(struct gpu_pool *p, const struct gpu_want *want, struct gpu_slot **ret)
{
	bool filled;
	struct gpu_slot *s = slot_take(p, want, &filled);
	int r;

	*ret = s;
	if (s) {
		log_info("using pooled context for PID %d (GPU %zu)", want->pid, p->gpu);
		return 0;
	}
	if (want->if_free || (!want->buffers && !filled))
		return 0;
	log_warn("context pool exhausted: GPU %zu: making one for PID %d", p->gpu, want->pid);
	r = gpu_slot_make(p->all->driver, p->gpu, want->buffers, &s);
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
	pthread_mutex_lock(&p->all->lock);
	gone = s->extra || r < 0;
	if (gone)
		slot_unlink(p, s);
	s->pid = 0;
	pthread_mutex_unlock(&p->all->lock);
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

bool gpu_pools_any(struct gpu_pools *p)
{
	bool any = false;

	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < p->driver->n; i++)
		any |= p->pool[i].first != NULL;
	pthread_mutex_unlock(&p->lock);
	return any;
}
