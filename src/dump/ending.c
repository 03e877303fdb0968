/* SPDX-License-Identifier: Apache-2.0 */
/* Killed tasks lose their memory more quickly (ending.h). */
#include "dump/ending.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dump/dt.h"
#include "kern/cpus.h"

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

enum { HELPERS_MAX = 7 };
static const uint64_t MUCH = 64 << 20;

struct ending {
	const struct dump *d;
	_Atomic bool killed;
};

static bool has_much(const struct dump_task *t)
{
	uint64_t len = 0;

	for (size_t i = 0; i < t->nmaps; i++)
		len += t->maps[i].anon_len;
	return len >= MUCH;
}

static void *help(void *arg)
{
	const struct ending *e = arg;

	while (!atomic_load(&e->killed))
		sched_yield();
	for (size_t i = 0; i < e->d->kinds.ntasks; i++)
		if (has_much(&e->d->kinds.tasks[i]))
			syscall(SYS_process_mrelease, e->d->kinds.tasks[i].pidfd, 0);
	return NULL;
}

void ending_hasten(const struct dump *d)
{
	struct ending e = { .d = d };
	pthread_t helper[HELPERS_MAX];
	unsigned n = 0, most;
	size_t large = 0;

	for (size_t i = 0; i < d->kinds.ntasks; i++)
		large += has_much(&d->kinds.tasks[i]);
	if (!large)
		return;
	most = cpus_usable(); /* asked only now: many small files tell it */
	/* this thread is one more, and the task itself */
	while (n + 2 < most && n < HELPERS_MAX && !pthread_create(&helper[n], NULL, help, &e))
		n++;
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		if (has_much(&d->kinds.tasks[i]))
			kill(d->kinds.tasks[i].pid, SIGKILL);
	atomic_store(&e.killed, true);
	help(&e);
	while (n)
		pthread_join(helper[--n], NULL);
}
