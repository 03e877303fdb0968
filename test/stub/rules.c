/* SPDX-License-Identifier: Apache-2.0 */
/* What tests make go wrong, and the gate for locked processes (stub.h). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stub.h"

enum { NAMES = 128 };

struct stub stub = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int rule_count(const char *name)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct { const char *name; int n; } seen[NAMES];
	int n = 0;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < NAMES && !n; i++) {
		if (!seen[i].name)
			seen[i].name = name;
		if (!strcmp(seen[i].name, name))
			n = ++seen[i].n;
	}
	pthread_mutex_unlock(&lock);
	return n;
}

static int rule_do(const char *what)
{
	int ms;

	if (!strcmp(what, "die"))
		_exit(66);
	while (!strcmp(what, "hang"))
		pause();
	if (sscanf(what, "sleep=%d", &ms) == 1) {
		usleep((useconds_t)ms * 1000);
		return OK;
	}
	return (int)strtol(what, NULL, 10);
}

/* Every call comes through here with its name: written down, and made to fail if a rule says so. */
int call_begin(const char *name)
{
	const char *log = getenv("STUB_CUDA_LOG"), *rules = getenv("STUB_CUDA_RULES");
	int n = rule_count(name), r = OK, nth;
	char line[128], call[64], what[32];
	FILE *f;

	if (log) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

		dprintf(fd, "%d %s\n", getpid(), name);
		close(fd);
	}
	f = rules ? fopen(rules, "re") : NULL;
	while (f && r == OK && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %d %31s", call, &nth, what) == 3 && !strcmp(call, name) && (!nth || nth == n))
			r = rule_do(what);
	if (f)
		fclose(f);
	return r;
}

/* Without a lock: a dump may stop threads anywhere outside, and the restore thread must not wait for them. */
int gate_enter(const char *name)
{
	if (!stub.ready)
		return NOT_INITIALIZED;
	for (;;) {
		while (stub.closed)
			syscall(SYS_futex, &stub.closed, FUTEX_WAIT, 1, NULL, NULL, 0);
		stub.inside++;
		if (!stub.closed)
			return call_begin(name);
		stub.inside--;
	}
}

int gate_leave(int r)
{
	if (stub.ready)
		stub.inside--;
	return r;
}

void gate_open(void)
{
	stub.closed = 0;
	syscall(SYS_futex, &stub.closed, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* False when somebody is still inside after so long; 0: waits for ever. */
bool gate_close(unsigned timeout_ms)
{
	stub.closed = 1;
	for (unsigned ms = 0; stub.inside && (!timeout_ms || ms < timeout_ms); ms++)
		usleep(1000);
	if (!stub.inside)
		return true;
	gate_open();
	return false;
}
