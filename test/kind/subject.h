/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every kind test's subject shares: the three phases.
 *
 *   subject STATE-FILE    prepare | "ready PID", wait to be dumped, restored and told by SIGTERM | check
 *
 *	int main(void)
 *	{
 *		...prepare the state...
 *		subject_ready();
 *		CHECK(state is as it was, "what broke");
 *		return 0;
 *	}
 *
 * The state file ends as PASS, as "FAIL: reason", or as "SKIP: reason" of a subject whose kernel lacks
 * something. PASS is written at exit(0) of the process that was ready; children may CHECK too, and the first
 * failure of any of them stays. Comments in the source steer the runner (kinds.py):
 *
 *	// thaw-options: --file-locks     for dump and restore alike
 *	// thaw-refuses: text             the dump must fail with a sentence that holds the text; then SIGTERM, PASS
 *	// thaw-changes: SigPnd           nouns of /proc/PID/status that change by themselves
 *
 * The runner starts the subject in its own directory, in PID, mount and network namespaces of its own (loopback
 * is up), in a session of its own, with /dev/null as descriptors 0 to 2 and nothing else open.
 */
#ifndef TEST_SUBJECT_H
#define TEST_SUBJECT_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *subject_file;
static pid_t subject_pid;
static volatile sig_atomic_t subject_told;

static void subject_on_term(int sig)
{
	(void)sig;
	subject_told = 1;
}

/* Rewritten in place, so that a subject which holds its state file open still sees it. */
__attribute__((format(printf, 1, 2))) static inline void subject_state(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n++] = '\n';
	fd = open(subject_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		_exit(99);
	close(fd);
}

static inline int subject_failed(void)
{
	char c = 0;
	int fd = open(subject_file, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return c == 'F';
}

/* Ends this process at the first condition that does not hold. */
#define CHECK(cond, ...) \
	do { \
		if (!(cond)) \
			subject_fail(__LINE__, errno, __VA_ARGS__); \
	} while (0)

__attribute__((noreturn, format(printf, 3, 4))) static inline void subject_fail(int line, int err, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!subject_failed())
		subject_state("FAIL: %s [line %d, errno %d]", text, line, err);
	_exit(1);
}

__attribute__((noreturn)) static inline void subject_skip(const char *why)
{
	subject_state("SKIP: %s", why);
	_exit(77);
}

static void subject_exit(int status, void *arg)
{
	(void)arg;
	if (getpid() == subject_pid && status == 0 && !subject_failed())
		subject_state("PASS");
}

/* Before main(): SIGTERM stays blocked outside of subject_ready(), so that it is never early and never lost. */
__attribute__((constructor)) static void subject_init(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = subject_on_term };
	sigset_t term;

	if (argc < 2) {
		fprintf(stderr, "usage: %s STATE-FILE\n", argv[0]);
		_exit(2);
	}
	subject_file = argv[1];
	sigaction(SIGTERM, &sa, NULL);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	on_exit(subject_exit, NULL);
}

/* Says that the state stands, and returns when the runner wants it checked. */
static inline void subject_ready(void)
{
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigdelset(&mask, SIGTERM);
	subject_pid = getpid();
	subject_state("ready %d", (int)subject_pid);
	while (!subject_told)
		sigsuspend(&mask);
	errno = 0;
}

#endif
