/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tracee (ptrace.h).
 *
 * Two kernel rules shape the waiting. Entering any stop clears a pending
 * interrupt, so a signal stop that comes first would swallow ours: it is asked for
 * again before the thread goes on with its signal. And waitpid() has no deadline:
 * we look with WNOHANG and sleep on SIGCHLD, which the kernel sends to the tracer for every stop.
 */
#include "kern/ptrace.h"

#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "kern/proc.h"
#include "kern/watchdog.h"

enum { PAUSE_NS = 2000000, EVENT_STOP = 128 /* PTRACE_EVENT_STOP */ };

static int call(long r, pid_t tid, const char *what)
{
	return r < 0 ? err_set(errno, "ptrace %s of %d", what, tid) : 0;
}

int ptrace_seize(pid_t tid, unsigned long options)
{
	long r = watchdog_call(ptrace(PTRACE_SEIZE, tid, NULL, options), -2L);

	if (r == -2)
		return err_say(EAGAIN, "ptrace seize of %d: it is in an exec that does not end", tid);
	return call(r, tid, "seize");
}

int ptrace_interrupt(pid_t tid)
{
	return call(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL), tid, "interrupt");
}

int ptrace_cont(pid_t tid, int sig)
{
	return call(ptrace(PTRACE_CONT, tid, NULL, (long)sig), tid, "cont");
}

int ptrace_syscall(pid_t tid, int sig)
{
	return call(ptrace(PTRACE_SYSCALL, tid, NULL, (long)sig), tid, "syscall");
}

int ptrace_detach(pid_t tid, int sig)
{
	if (!ptrace(PTRACE_DETACH, tid, NULL, (long)sig))
		return 0;
	return errno == ESRCH ? 1 : err_set(errno, "ptrace detach of %d", tid);
}

static struct ptrace_stop stop_of(int status)
{
	struct ptrace_stop s = { .kind = PTRACE_STOP_DIED, .status = status };

	if (!WIFSTOPPED(status))
		return s;
	s.sig = WSTOPSIG(status);
	s.event = status >> 16;
	if (s.sig == (SIGTRAP | 0x80))
		s.kind = PTRACE_STOP_SYSCALL;
	else if (!s.event)
		s.kind = PTRACE_STOP_SIGNAL;
	else if (s.event == EVENT_STOP && s.sig != SIGTRAP)
		s.kind = PTRACE_STOP_GROUP;
	else
		s.kind = PTRACE_STOP_EVENT;
	return s;
}

int ptrace_poll(pid_t tid, struct ptrace_stop *ret_stop)
{
	int status;
	pid_t r;

	do
		r = waitpid(tid, &status, __WALL | __WNOTHREAD | WNOHANG);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == ECHILD) /* another thread's exec took its place, or it died unseen */
		*ret_stop = (struct ptrace_stop){ .kind = PTRACE_STOP_DIED };
	else if (r < 0)
		return err_set(errno, "waitpid %d", tid);
	else if (r == 0)
		*ret_stop = (struct ptrace_stop){ .kind = PTRACE_STOP_NONE };
	else
		*ret_stop = stop_of(status);
	return 0;
}

/* Interrupts once more and lets it take the signal. It may be killed in between: the next look tells. */
static int pass_signal(pid_t tid, int sig)
{
	int r = ptrace_interrupt(tid);

	if (!r)
		r = ptrace_cont(tid, sig);
	return r == -ESRCH ? 0 : r;
}

int ptrace_poll_stop(pid_t tid, struct ptrace_stop *ret_stop)
{
	for (;;) {
		int r = ptrace_poll(tid, ret_stop);

		if (r < 0 || (ret_stop->kind != PTRACE_STOP_SIGNAL && ret_stop->kind != PTRACE_STOP_SYSCALL))
			return r;
		r = pass_signal(tid, ret_stop->kind == PTRACE_STOP_SIGNAL ? ret_stop->sig : 0);
		if (r < 0)
			return r;
	}
}

void ptrace_stands(pid_t tid, struct ptrace_stop *ret_stop)
{
	siginfo_t info = { 0 };

	*ret_stop = (struct ptrace_stop){ .kind = PTRACE_STOP_NONE };
	if (!ptrace(PTRACE_GETSIGINFO, tid, NULL, &info) && info.si_code >> 8 == EVENT_STOP)
		*ret_stop = stop_of(info.si_code << 8 | 0x7f);
}

void ptrace_waiter_begin(struct ptrace_waiter *w, uint64_t deadline_ns)
{
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &chld, &w->old_mask);
	w->deadline_ns = deadline_ns;
}

int ptrace_waiter_pause(struct ptrace_waiter *w)
{
	uint64_t now = trace_now_ns(), left = PAUSE_NS;
	struct timespec t;
	sigset_t chld;

	if (now >= w->deadline_ns)
		return err_say(ETIMEDOUT, "it did not stop in time");
	if (left > w->deadline_ns - now)
		left = w->deadline_ns - now;
	t = (struct timespec){ .tv_nsec = (long)left };
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigtimedwait(&chld, NULL, &t);
	return 0;
}

void ptrace_waiter_end(struct ptrace_waiter *w)
{
	pthread_sigmask(SIG_SETMASK, &w->old_mask, NULL);
}

/*
 * A leader that died is told to its tracer only when its other threads have been reaped; those are ours to reap too,
 * but later. So nobody who waits for it alone would ever hear of it.
 */
static bool is_zombie(pid_t tid)
{
	auto_close int proc_fd = proc_open(tid);
	struct proc_stat st = { 0 };

	return proc_fd >= 0 && proc_stat_read(proc_fd, tid, &st) >= 0 && (st.state == 'Z' || st.state == 'X');
}

/* For when a pause has brought no news: one look for a dead leader, and one more for a death that came in between. */
static int look_for_death(int (*poll)(pid_t, struct ptrace_stop *), pid_t tid, struct ptrace_stop *ret_stop)
{
	int r;

	if (!is_zombie(tid))
		return 0;
	r = poll(tid, ret_stop);
	if (!r && ret_stop->kind == PTRACE_STOP_NONE)
		*ret_stop = (struct ptrace_stop){ .kind = PTRACE_STOP_DIED };
	return r;
}

static int wait_with(int (*poll)(pid_t, struct ptrace_stop *), pid_t tid, uint64_t deadline_ns,
		     struct ptrace_stop *ret_stop)
{
	struct ptrace_waiter w;
	int r = poll(tid, ret_stop); /* mostly it is there */

	if (r < 0 || ret_stop->kind != PTRACE_STOP_NONE)
		return err_ctx(r, "task %d", tid);
	ptrace_waiter_begin(&w, deadline_ns);
	for (bool paused = false;; paused = true) {
		r = poll(tid, ret_stop);
		if (!r && ret_stop->kind == PTRACE_STOP_NONE && paused)
			r = look_for_death(poll, tid, ret_stop);
		if (r < 0 || ret_stop->kind != PTRACE_STOP_NONE)
			break;
		r = ptrace_waiter_pause(&w);
		if (r < 0)
			break;
	}
	ptrace_waiter_end(&w);
	return err_ctx(r, "task %d", tid);
}

int ptrace_wait(pid_t tid, uint64_t deadline_ns, struct ptrace_stop *ret_stop)
{
	return wait_with(ptrace_poll, tid, deadline_ns, ret_stop);
}

int ptrace_wait_stop(pid_t tid, uint64_t deadline_ns, struct ptrace_stop *ret_stop)
{
	return wait_with(ptrace_poll_stop, tid, deadline_ns, ret_stop);
}
