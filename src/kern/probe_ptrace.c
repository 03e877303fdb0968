/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of ptrace (probe.h), on a child that is forked for each and killed again. */
#include <elf.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kern/probe.h"

enum { SUSPEND_SECCOMP = 1 << 21 };

/* Sleeps until its tracer kills it, or until thaw is gone. */
static pid_t victim_start(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid < 0 ? -errno : pid;
}

static int stop_wait(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		return -errno;
	if (waitpid(pid, &status, __WALL) < 0)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -ECHILD;
}

static int on_victim(long options, int (*ask)(pid_t pid))
{
	pid_t pid = victim_start();
	int r = 0;

	if (pid < 0)
		return pid;
	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_EXITKILL | options) < 0)
		r = -errno;
	if (r == 0)
		r = stop_wait(pid);
	if (r == 0 && ask)
		r = ask(pid);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return r;
}

static int ask_peeksiginfo(pid_t pid)
{
	struct __ptrace_peeksiginfo_args args = { .nr = 1 };
	siginfo_t info;

	return ptrace(PTRACE_PEEKSIGINFO, pid, &args, &info) < 0 ? -errno : 0;
}

static int ask_rseq(pid_t pid)
{
	struct __ptrace_rseq_configuration conf;

	return ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, sizeof(conf), &conf) < 0 ? -errno : 0;
}

static int ask_syscall_info(pid_t pid)
{
	struct __ptrace_syscall_info info;

	return ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0 ? -errno : 0;
}

int probe_ptrace_seize(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return on_victim(0, NULL);
}

int probe_ptrace_peeksiginfo(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return on_victim(0, ask_peeksiginfo);
}

int probe_ptrace_rseq(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return on_victim(0, ask_rseq);
}

int probe_ptrace_syscall_info(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return on_victim(0, ask_syscall_info);
}

int probe_ptrace_seccomp(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return on_victim(SUSPEND_SECCOMP, NULL);
}
