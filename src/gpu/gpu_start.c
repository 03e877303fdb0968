/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's start (gpu_start.h). */
#include "gpu/gpu_start.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

static void *starter(void *arg)
{
	struct gpu_start *s = arg;
	const uint64_t one = 1;
	int r = gpu_driver_init(s->driver);

	if (r >= 0)
		r = gpu_pools_start(s->pools, s->driver, s->pool_size);
	if (r < 0)
		log_err("%s", err_text());
	pthread_mutex_lock(&s->lock);
	snprintf(s->text, sizeof(s->text), "%s", err_text());
	s->result = r < 0 ? r : 0;
	s->is_over = true;
	pthread_cond_broadcast(&s->over);
	pthread_mutex_unlock(&s->lock);
	(void)!write(s->wake_fd, &one, sizeof(one));
	return NULL;
}

int gpu_start_begin(struct gpu_start *s)
{
	pthread_attr_t attr;
	pthread_t thread;
	int e;

	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->over, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	e = pthread_create(&thread, &attr, starter, s);
	pthread_attr_destroy(&attr);
	return e ? err_set(e, "start the thread that starts the NVIDIA driver") : 0;
}

/* Call with the lock held. */
static int outcome(const struct gpu_start *s)
{
	return s->result < 0 ? err_adopt(-s->result, s->text) : 0;
}

int gpu_start_wait(struct gpu_start *s)
{
	int r;

	pthread_mutex_lock(&s->lock);
	while (!s->is_over)
		pthread_cond_wait(&s->over, &s->lock);
	r = outcome(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int gpu_start_state(struct gpu_start *s)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = s->is_over ? outcome(s) : 1;
	pthread_mutex_unlock(&s->lock);
	return r;
}
