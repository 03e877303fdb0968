/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole process tree, stopped under ptrace.
 *
 * seize_tree() stops every thread of every process under root, those born
 * meanwhile included, and describes what it found. Nothing is written to the
 * tasks, no signal is sent to them. seize_release() lets all go on as before:
 * what was in a group stop (state T) stays in it. If thaw dies, the kernel does the same.
 *
 * The calling OS thread becomes the tracer of a small tree: it alone may use ptrace on it. A crowd gets several
 * tracers (tracers.h), and seize_run() has each do what concerns its own.
 */
#ifndef KERN_SEIZE_H
#define KERN_SEIZE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "kern/proc.h"
#include "kern/tracers.h"

enum seize_state { SEIZE_ALIVE, SEIZE_STOPPED /* in a group stop */, SEIZE_ZOMBIE };

struct seize_task {
	pid_t pid, ppid, pgid, sid; /* ppid of root: its parent outside */
	enum seize_state state;
	int stop_sig;  /* of SEIZE_STOPPED: SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU */
	int exit_code; /* of SEIZE_ZOMBIE, as wait(2) gives it */
	char comm[PROC_COMM_LEN];
	struct proc_stat stat; /* read when all its threads stood */
	int proc_fd;           /* /proc/PID (proc.h), closed by seize_release() */
	pid_t *tids;           /* all stopped; the leader first; zombies have none */
	uint8_t *hands;        /* of each, who traces it: for seize_run() */
	size_t n_tids;
	struct seize_task *parent; /* NULL for root */
};

struct seize {
	struct seize_task **tasks; /* parents come before their children; [0] is root */
	size_t n_tasks, n_threads;
};

/*
 * Gives up timeout_ns after the call (0: 10 s) and lets all go again. Refused by
 * name, with nothing left stopped: a task traced by someone else (-EBUSY), kernel threads,
 * thaw itself or one of its ancestors as root or inside (-EINVAL), a process whose leader
 * exited before its other threads (-ENOTSUP), no such process (-ESRCH). hands: how many tracers; 0: as many as pay.
 */
int seize_tree(pid_t root, uint64_t timeout_ns, unsigned hands, struct arena *a, struct seize **ret_seize) must_check;

/*
 * Does fn(ctx, i, arena) for all i < n, each in the OS thread that is hand[i], side by side. After a failure no
 * more are begun; returns the first (by number), with its trail.
 */
int seize_run(struct seize *s, crew_fn *fn, void *ctx, const uint8_t *hand, size_t n) must_check;
/* The same for every thread that stands. */
typedef int seize_fn(void *ctx, pid_t tid);
int seize_each(struct seize *s, seize_fn *fn, void *ctx) must_check;

/*
 * One thread of a tree with one tracer may run for a while (up to its next system call): a GPU's driver works in one
 * of the target's. seize_tend() passes on what signals stop it; 1: it stands at a system call; -ESRCH: it has
 * ended. seize_again() stops it, with all threads that its task has got meanwhile, and describes the task anew.
 */
int seize_let_run(struct seize *s, pid_t tid, bool to_syscall) must_check;
int seize_tend(struct seize *s, pid_t tid) must_check;
int seize_again(struct seize *s, struct seize_task *t) must_check;

/*
 * Detaches all threads and closes all proc_fds. sig: 0, or SIGSTOP to leave the tree
 * in a group stop, or SIGKILL to end it. Tasks that died meanwhile are no error; what cannot be
 * detached (it did not stop) goes on when the tracer exits. NULL is fine.
 */
void seize_release(struct seize *s, int sig);

#endif
