/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tracee: seize, stop, look, change, let go.
 *
 * All calls about a thread come from the OS thread that seized it. Tracees are
 * seized (PTRACE_SEIZE), never attached: no signal is sent, group stops stay what
 * they are, and should the tracer die the kernel detaches all and they go on.
 *
 * All return 0 or -errno with a trail; -ESRCH means that the thread is gone (or not stopped).
 */
#ifndef KERN_PTRACE_H
#define KERN_PTRACE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/err.h"

/*
 * options: PTRACE_O_*. The thread goes on running. -EAGAIN: stuck, ended by the watchdog (watchdog.h)
 * that the caller has begun; it may have been seized or not.
 */
int ptrace_seize(pid_t tid, unsigned long options) must_check;
/*
 * Asks it to stop, in whatever it is doing. A call that was interrupted shows -ERESTART* in rax with
 * orig_rax >= 0: the kernel restarts it when the thread goes on, unless the registers are changed.
 * A thread that is made to run code of ours may report one more EVENT or GROUP stop at
 * once (a second interrupt, a SIGCONT to its process): continue it then.
 */
int ptrace_interrupt(pid_t tid) must_check;

enum ptrace_stop_kind {
	PTRACE_STOP_NONE,    /* nothing to report (yet) */
	PTRACE_STOP_EVENT,   /* stopped: interrupted, or another PTRACE_EVENT_* (.event) */
	PTRACE_STOP_GROUP,   /* stopped, and the process is in a group stop (.sig: SIGSTOP, SIGTSTP...) */
	PTRACE_STOP_SIGNAL,  /* about to be delivered .sig; must be resumed with it, else it is lost */
	PTRACE_STOP_SYSCALL, /* entry or exit of a system call under PTRACE_SYSCALL with TRACESYSGOOD */
	PTRACE_STOP_DIED     /* gone, and reaped by us; .status as wait(2) gives it (0 if it vanished in an exec) */
};

struct ptrace_stop {
	enum ptrace_stop_kind kind;
	int sig, event, status;
};

/* Looks once, without waiting: kind may be PTRACE_STOP_NONE. Signal stops are reported, not handled. */
int ptrace_poll(pid_t tid, struct ptrace_stop *ret_stop) must_check;
/* Waits for any report, until deadline_ns (CLOCK_MONOTONIC, UINT64_MAX: none); then -ETIMEDOUT. */
int ptrace_wait(pid_t tid, uint64_t deadline_ns, struct ptrace_stop *ret_stop) must_check;
/*
 * For a thread that was interrupted: waits until it stands (EVENT or GROUP) or
 * died. Signals that come up meanwhile are delivered on the way, as they would have been anyhow.
 */
int ptrace_wait_stop(pid_t tid, uint64_t deadline_ns, struct ptrace_stop *ret_stop) must_check;
/* One step of the same, for waiting on many at once: sets kind NONE while it is on its way. */
int ptrace_poll_stop(pid_t tid, struct ptrace_stop *ret_stop) must_check;
/* Tells of a stop for an interrupt, or of the group, that was waited for long ago; PTRACE_STOP_NONE: it is in none. */
void ptrace_stands(pid_t tid, struct ptrace_stop *ret_stop);

/*
 * Sleeping until some tracee reports, for loops over ptrace_poll*(): SIGCHLD is
 * blocked between begin and end; pause returns 0 (look again), or -ETIMEDOUT after the deadline.
 * It wakes every 2 ms in any case, since SIGCHLDs merge and other threads of ours may take them.
 */
struct ptrace_waiter {
	sigset_t old_mask;
	uint64_t deadline_ns;
};
void ptrace_waiter_begin(struct ptrace_waiter *w, uint64_t deadline_ns);
int ptrace_waiter_pause(struct ptrace_waiter *w) must_check;
void ptrace_waiter_end(struct ptrace_waiter *w);

int ptrace_cont(pid_t tid, int sig) must_check;
int ptrace_syscall(pid_t tid, int sig) must_check; /* on to the next entry or exit of a system call */
/*
 * Makes a stopped thread run one system call, by the `syscall` instruction at ip_va and with the other registers
 * as in base. It stands afterwards as after ptrace_interrupt(), with all signals blocked; *ret_after are its registers
 * then. To put it back: first the mask, then the registers. The thread was seized with PTRACE_O_TRACESYSGOOD. On
 * failure it may stand, run or be gone.
 */
int ptrace_call(pid_t tid, const struct user_regs_struct *base, uint64_t ip_va, long nr, const uint64_t a[6],
		uint64_t deadline_ns, struct user_regs_struct *ret_after) must_check;
/*
 * The same in three parts, for a tracer of many: to begin with one is not to wait for it. It gets to the entry of the
 * call and is sent on from there, and in the end it stands again.
 */
int ptrace_call_begin(pid_t tid, const struct user_regs_struct *base, uint64_t ip_va, long nr,
		      const uint64_t a[6]) must_check;
int ptrace_call_enter(pid_t tid, uint64_t deadline_ns) must_check;
int ptrace_call_end(pid_t tid, uint64_t deadline_ns, struct user_regs_struct *ret_after) must_check;
/* Lets it go; one in a group stop stays in it. 1 if it is gone, dying or not stopped, which is no error. */
int ptrace_detach(pid_t tid, int sig) must_check;

int ptrace_get_regs(pid_t tid, struct user_regs_struct *ret_regs) must_check;
int ptrace_set_regs(pid_t tid, const struct user_regs_struct *regs) must_check;
enum { PTRACE_XSAVE_MAX = 16384 }; /* with AMX tiles: 11008 */
/* The standard (not compacted) XSAVE layout; *ret_len is what the kernel has. */
int ptrace_get_xsave(pid_t tid, void *buf, size_t cap, size_t *ret_len) must_check;

int ptrace_get_sigmask(pid_t tid, uint64_t *ret_mask) must_check;
int ptrace_set_sigmask(pid_t tid, uint64_t mask) must_check;
/*
 * Up to cap pending signals of the thread's own or (shared) of the process's queue,
 * from number off on, in order, not taken out. Returns how many, 0 at the end.
 */
int ptrace_peek_siginfo(pid_t tid, bool shared, uint64_t off, siginfo_t *buf, size_t cap) must_check;

struct ptrace_rseq {
	uint64_t abi_va; /* 0: none registered */
	uint32_t len, signature, flags;
};
/* Before 5.13: -EIO. */
int ptrace_get_rseq(pid_t tid, struct ptrace_rseq *ret_rseq) must_check;

#endif
