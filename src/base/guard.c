/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ending work from outside (guard.h). The variables belong either to the engine or to the process that waits.
 */
#include "base/guard.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/oom.h"

enum { TRIES = 64, OTHER_PID = -EDEADLK };

/* What the engine leaves for the one that waits. */
struct outcome {
	int done, result;
	uint64_t kills; /* for want of memory, before much was taken, and 1; 0: not known */
	pid_t wish; /* the next try's PID */
	char why[1024];
};

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP };

static volatile int wanted;       /* in the engine: the signal that ends it */
static pid_t other_pid;           /* in the engine: what its successor should have */
static volatile pid_t engine_pid; /* in the one that waits */
static struct outcome *shared; /* in both */

static void on_end(int sig)
{
	wanted = sig;
}

static void pass_on(int sig)
{
	if (engine_pid > 0)
		kill(engine_pid, sig);
}

const volatile int *guard_flag(void)
{
	return &wanted;
}

int guard_check(void)
{
	if (!wanted)
		return 0;
	return err_say(ECANCELED, "interrupted (%s)", wanted == SIGUSR2 ? "thaw was killed" : strsignal(wanted));
}

int guard_other_pid(pid_t wish)
{
	other_pid = wish;
	return err_say(-OTHER_PID, "PID %d is thaw's own: restore in a new PID namespace", getpid());
}

void guard_note_kills(void)
{
	if (shared)
		shared->kills = oom_kills() + 1;
}

const char *guard_starved(char text[GUARD_STARVED_LEN])
{
	uint64_t before = shared ? shared->kills : 0, now = before ? oom_kills() + 1 : 0;

	*text = 0;
	if (now > before)
		snprintf(text, GUARD_STARVED_LEN, ": meanwhile the kernel killed %" PRIu64 " process%s for want of memory",
			 now - before, now - before == 1 ? "" : "es");
	return text;
}

void guard_too_late(void)
{
	for (size_t i = 0; i < ARRAY_LEN(end_signals); i++)
		signal(end_signals[i], SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	wanted = 0;
}

static _Noreturn void engine(pid_t front, struct outcome *o, int (*work)(void *arg), void *arg, bool own_group)
{
	struct sigaction sa = { .sa_handler = on_end };

	if (own_group)
		setpgid(0, 0);
	for (size_t i = 0; i < ARRAY_LEN(end_signals); i++)
		sigaction(end_signals[i], &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	prctl(PR_SET_PDEATHSIG, SIGUSR2);
	if (getppid() != front)
		_exit(1);
	o->result = work(arg);
	o->wish = other_pid;
	snprintf(o->why, sizeof(o->why), "%s", err_text());
	o->done = 1;
	fflush(NULL);
	_exit(0);
}

static int wait_for_engine(void)
{
	struct sigaction sa = { .sa_handler = pass_on }, old[ARRAY_LEN(end_signals)];
	int status;

	for (size_t i = 0; i < ARRAY_LEN(end_signals); i++)
		sigaction(end_signals[i], &sa, &old[i]);
	while (waitpid(engine_pid, &status, 0) < 0 && errno == EINTR)
		;
	for (size_t i = 0; i < ARRAY_LEN(end_signals); i++)
		sigaction(end_signals[i], &old[i], NULL);
	return status;
}

/* The next process that anybody makes gets the number; it may be somebody else's, or we may not write here. */
static void wish_for(pid_t pid)
{
	auto_close int fd = pid > 1 ? open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0)
		(void)!dprintf(fd, "%d", pid - 1);
}

static int run_once(struct outcome *o, int (*work)(void *arg), void *arg, bool own_group)
{
	pid_t front = getpid();
	char starved[GUARD_STARVED_LEN];
	int status;

	o->done = 0;
	o->kills = 0;
	fflush(NULL);
	wish_for(o->wish);
	engine_pid = fork();
	if (!engine_pid)
		engine(front, o, work, arg, own_group);
	if (engine_pid < 0)
		return err_set(errno, "make the engine's process");
	status = wait_for_engine();
	if (o->done)
		return o->result < 0 ? err_adopt(-o->result, o->why) : o->result;
	if (WIFSIGNALED(status))
		return err_say(ECHILD, "the engine's process was ended by signal %d (%s)%s", WTERMSIG(status),
			       strsignal(WTERMSIG(status)), guard_starved(starved));
	return err_say(ECHILD, "the engine's process ended early");
}

int guard_run(int (*work)(void *arg), void *arg, bool own_group)
{
	struct outcome *o = mmap(NULL, sizeof(*o), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int r = OTHER_PID;

	if (o == MAP_FAILED)
		return err_set(errno, "share memory with the engine's process");
	shared = o;
	for (int i = 0; i < TRIES && r == OTHER_PID; i++)
		r = run_once(o, work, arg, own_group);
	shared = NULL;
	munmap(o, sizeof(*o));
	return r;
}
