/* SPDX-License-Identifier: Apache-2.0 */
/* A way out of stuck system calls (watchdog.h). The guard is thread-local, as the handler needs no other argument. */
#include "kern/watchdog.h"

#include <pthread.h>
#include <unistd.h>

enum { TICK_NS = 10000000 };

static _Thread_local struct watchdog_guard guard;

struct watchdog_guard *watchdog_guard(void)
{
	return &guard;
}

static void on_tick(int sig)
{
	(void)sig;
	if (!guard.armed || ++guard.ticks < 2)
		return;
	guard.armed = 0;
	siglongjmp(guard.out, 1);
}

static int start_timer(struct watchdog *w)
{
	const struct itimerspec every = { { 0, TICK_NS }, { 0, TICK_NS } };
	struct sigevent sev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMAX };

	sev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &sev, &w->timer) < 0)
		return err_set(errno, "timer_create");
	if (timer_settime(w->timer, 0, &every, NULL) < 0) {
		timer_delete(w->timer);
		return err_set(errno, "timer_settime");
	}
	return 0;
}

static int begin(struct watchdog *w)
{
	sigset_t tick;
	int r = start_timer(w);

	if (r < 0)
		return r;
	sigemptyset(&tick);
	sigaddset(&tick, SIGRTMAX);
	pthread_sigmask(SIG_UNBLOCK, &tick, &w->old_mask);
	w->running = true;
	return 0;
}

int watchdog_begin(struct watchdog *w)
{
	/* SA_NODEFER: the jump leaves the handler without restoring the mask */
	const struct sigaction action = { .sa_handler = on_tick, .sa_flags = SA_RESTART | SA_NODEFER };
	int r;

	if (sigaction(SIGRTMAX, &action, &w->old_action) < 0)
		return err_set(errno, "sigaction");
	w->second = false;
	r = begin(w);
	if (r < 0)
		sigaction(SIGRTMAX, &w->old_action, NULL);
	return r;
}

int watchdog_begin_second(struct watchdog *w)
{
	w->second = true;
	return begin(w);
}

void watchdog_end(struct watchdog *w)
{
	const struct timespec now = { 0 };
	sigset_t tick;

	if (!w->running)
		return;
	/* a last tick may be queued already; with the old action back it could end the process */
	sigemptyset(&tick);
	sigaddset(&tick, SIGRTMAX);
	pthread_sigmask(SIG_BLOCK, &tick, NULL);
	timer_delete(w->timer);
	while (sigtimedwait(&tick, NULL, &now) > 0)
		;
	pthread_sigmask(SIG_SETMASK, &w->old_mask, NULL);
	if (!w->second)
		sigaction(SIGRTMAX, &w->old_action, NULL);
	w->running = false;
}
