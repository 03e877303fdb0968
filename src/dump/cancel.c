/* SPDX-License-Identifier: Apache-2.0 */
/* Ending a dump from outside (cancel.h). */
#include "dump/cancel.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child leaves for its parent. */
struct outcome {
	int done, result;
	char why[1024];
};

static volatile int wanted; /* written by the signal handler only */

static void on_end(int sig)
{
	wanted = sig;
}

const volatile int *cancel_flag(void)
{
	return &wanted;
}

int cancel_check(void)
{
	if (!wanted)
		return 0;
	return err_say(ECANCELED, "interrupted (%s); the target goes on as before",
		       wanted == SIGUSR2 ? "thaw was killed" : strsignal(wanted));
}

void cancel_too_late(void)
{
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	wanted = 0;
}

static void catch(int sig)
{
	struct sigaction sa = { .sa_handler = on_end };

	sigaction(sig, &sa, NULL);
}

static _Noreturn void child(pid_t front, struct outcome *o, int (*work)(void *arg), void *arg)
{
	/* out of reach of what is sent to thaw's group; the terminal's ^C comes through the parent */
	setpgid(0, 0);
	catch(SIGINT);
	catch(SIGTERM);
	catch(SIGHUP);
	catch(SIGUSR2);
	prctl(PR_SET_PDEATHSIG, SIGUSR2);
	if (getppid() != front)
		_exit(1);
	o->result = work(arg);
	snprintf(o->why, sizeof(o->why), "%s", err_text());
	o->done = 1;
	fflush(NULL);
	_exit(0);
}

static volatile pid_t child_pid; /* for the handler that passes signals on */

static void pass_on(int sig)
{
	if (child_pid > 0)
		kill(child_pid, sig);
}

int cancel_guard(int (*work)(void *arg), void *arg)
{
	struct outcome *o = mmap(NULL, sizeof(*o), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sigaction sa = { .sa_handler = pass_on }, old[3];
	pid_t front = getpid(), pid;
	int status, r;

	if (o == MAP_FAILED)
		return err_set(errno, "share memory with the dumping process");
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(front, o, work, arg);
	if (pid < 0)
		return err_set(errno, "make the dumping process");
	child_pid = pid;
	sigaction(SIGINT, &sa, &old[0]);
	sigaction(SIGTERM, &sa, &old[1]);
	sigaction(SIGHUP, &sa, &old[2]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGINT, &old[0], NULL);
	sigaction(SIGTERM, &old[1], NULL);
	sigaction(SIGHUP, &old[2], NULL);
	if (o->done)
		r = o->result < 0 ? err_adopt(-o->result, o->why) : o->result;
	else if (WIFSIGNALED(status))
		r = err_say(ECHILD, "the dumping process was ended by signal %d (%s)", WTERMSIG(status),
			    strsignal(WTERMSIG(status)));
	else
		r = err_say(ECHILD, "the dumping process ended early");
	munmap(o, sizeof(*o));
	return r;
}
