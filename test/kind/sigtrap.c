/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGTRAP caught, ignored, and blocked: whoever works with a debugger's means can
 * easily change these, since the kernel makes a trap that is blocked or ignored the default action.
 */
#include <sys/wait.h>

#include "subject.h"

static volatile sig_atomic_t caught;

static void on_trap(int sig)
{
	(void)sig;
	caught++;
}

static void prepare(int nature)
{
	sigset_t trap;

	sigemptyset(&trap);
	sigaddset(&trap, SIGTRAP);
	if (nature == 2)
		sigprocmask(SIG_BLOCK, &trap, NULL);
	signal(SIGTRAP, nature == 1 ? SIG_IGN : on_trap);
}

static void check(int nature)
{
	struct sigaction sa;
	sigset_t mask;

	CHECK(!sigaction(SIGTRAP, NULL, &sa), "get the action");
	CHECK(sa.sa_handler == (nature == 1 ? SIG_IGN : on_trap), "%d: the action of SIGTRAP changed", nature);
	sigprocmask(SIG_BLOCK, NULL, &mask);
	CHECK(sigismember(&mask, SIGTRAP) == (nature == 2), "%d: SIGTRAP in the mask", nature);
	raise(SIGTRAP);
	CHECK(caught == (nature == 0), "%d: SIGTRAP came %d times", nature, (int)caught);
}

int main(void)
{
	int go[2], status;
	char c;

	CHECK(!pipe(go), "make a pipe");
	for (int nature = 1; nature < 3; nature++) {
		pid_t pid = fork();

		CHECK(pid >= 0, "fork");
		if (pid)
			continue;
		close(go[1]);
		prepare(nature);
		CHECK(read(go[0], &c, 1) == 0, "wait for the parent");
		check(nature);
		_exit(0);
	}
	close(go[0]);
	prepare(0);

	subject_ready();

	check(0);
	close(go[1]);
	for (int i = 0; i < 2; i++)
		CHECK(wait(&status) > 0 && !status, "a child ended with %x", (unsigned)status);
	return 0;
}
