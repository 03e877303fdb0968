/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task as /proc shows it: stat, status, and the small files.
 *
 * Everything is read relative to a descriptor of /proc/PID (proc_open()), which
 * stays bound to that very process: a PID that is reused meanwhile gives ESRCH or
 * ENOENT, never somebody else's data. `tid` 0 means the process itself
 * (/proc/PID/stat), else its thread (/proc/PID/task/TID/stat).
 *
 * Numbers are checked, names are untrusted: a comm may hold ')', spaces and
 * newlines. Functions return 0 (or a count), or -errno with a trail; -ENOENT and
 * -ESRCH mean that the task is gone. Strings and arrays live in the arena.
 * PIDs are those of the PID namespace that /proc was mounted for.
 */
#ifndef KERN_PROC_H
#define KERN_PROC_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

enum {
	PROC_COMM_LEN = 64,           /* user tasks use 16 bytes of it, kernel threads more */
	PROC_KTHREAD = 0x00200000,    /* proc_stat.flags: PF_KTHREAD */
	PROC_FORKNOEXEC = 0x00000040, /* PF_FORKNOEXEC */
};

struct proc_stat {
	pid_t pid, ppid, pgrp, session, tpgid;
	char comm[PROC_COMM_LEN];
	char state; /* R S D T t Z X I P */
	int tty_nr; /* new_encode_dev() of the controlling terminal, 0: none */
	uint32_t flags;
	int64_t priority, nice;
	uint32_t num_threads; /* those that are just dying included */
	uint64_t start_ticks; /* since boot, in USER_HZ: with the pid it names a task for good */
	uint64_t vsize_len;
	uint64_t start_code_va, end_code_va, start_data_va, end_data_va; /* 0 without the right to ptrace */
	uint64_t start_brk_va, start_stack_va;
	uint64_t arg_start_va, arg_end_va, env_start_va, env_end_va;
	uint32_t rt_priority, policy;
	int exit_code; /* as wait(2) gives it; of zombies, else 0 */
};

enum { PROC_NS_LEVELS = 32 }; /* the kernel's own limit */

struct proc_ids { /* outermost namespace (ours) first */
	uint32_t n;
	pid_t id[PROC_NS_LEVELS];
};

enum proc_cap { PROC_CAP_INH, PROC_CAP_PRM, PROC_CAP_EFF, PROC_CAP_BND, PROC_CAP_AMB, PROC_CAPS };

struct proc_status {
	char state;
	pid_t tgid, pid, ppid, tracer_pid;
	uint32_t uid[4], gid[4]; /* real, effective, saved, filesystem; in our user namespace */
	uint32_t *groups;
	size_t n_groups;
	struct proc_ids nstgid, nspid, nspgid, nssid;
	uint32_t threads;
	uint64_t sig_pnd, shd_pnd, sig_blk, sig_ign, sig_cgt; /* bit n-1: signal n */
	uint64_t cap[PROC_CAPS];
	uint32_t umask;
	bool has_umask; /* false for zombies and kernel threads: no fs_struct */
	bool no_new_privs;
	int seccomp, seccomp_filters; /* mode 0, 1 (strict), 2 (filter) */
	int thp_enabled;              /* 0: PR_SET_THP_DISABLE, 1: no; -1: not told */
	uint64_t vm_lck_kb;           /* 0: nothing is mlocked */
	uint64_t vm_rss_kb;
	bool shadow_stack;
};

struct proc_timer { /* one line group of /proc/PID/timers */
	int id;
	int signo;
	uint64_t sival; /* the pointer in sigev_value */
	int notify;     /* SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_SIGNAL | SIGEV_THREAD_ID as SIGEV_THREAD_ID */
	pid_t tid;      /* the target (a thread with SIGEV_THREAD_ID, else the process) in /proc's namespace */
	int clockid;
};

enum proc_ns {
	PROC_NS_CGROUP, PROC_NS_IPC, PROC_NS_MNT, PROC_NS_NET, PROC_NS_PID, PROC_NS_PID_CHILDREN,
	PROC_NS_TIME, PROC_NS_TIME_CHILDREN, PROC_NS_USER, PROC_NS_UTS, PROC_NSES
};
extern const char *const proc_ns_names[PROC_NSES]; /* "cgroup", "ipc", ... */

/* A descriptor of /proc/PID, the caller's to close. */
int proc_open(pid_t pid) must_check;

int proc_stat_read(int proc_fd, pid_t tid, struct proc_stat *ret_stat) must_check;
/* The same of any process, from /proc itself: for a look at all of them. */
int proc_stat_of(int root_fd, pid_t pid, struct proc_stat *ret_stat) must_check;
int proc_status_read(int proc_fd, pid_t tid, struct arena *a, struct proc_status *ret_status) must_check;
/* The name as it is, up to and without the newline that the kernel adds. */
int proc_comm_read(int proc_fd, pid_t tid, char ret_comm[PROC_COMM_LEN]) must_check;

/* TIDs in ascending order of the listing (the leader comes first while it lives). */
int proc_threads(int proc_fd, struct arena *a, pid_t **ret_tids, size_t *ret_n) must_check;
/*
 * Children of one thread; complete only while it is stopped. Appends to *pids of
 * *n items (arena; start with NULL and 0), so that one list can hold those of all threads.
 */
int proc_children(int proc_fd, pid_t tid, struct arena *a, pid_t **pids, size_t *n) must_check;

/*
 * Children of the process pid of proc_fd, whose threads are tids, all stopped. Appends in the same
 * way, in ascending order or by thread.
 */
int proc_offspring(int proc_fd, pid_t pid, const pid_t *tids, size_t n_tids, struct arena *a, pid_t **pids,
		   size_t *n) must_check;
/* Appends to *pids of *n items, in the arena. */
void proc_pid_push(struct arena *a, pid_t **pids, size_t *n, pid_t pid);

/* Pairs {type, value}, AT_NULL included; *ret_n counts 64-bit words. */
int proc_auxv(int proc_fd, struct arena *a, uint64_t **ret_words, size_t *ret_n) must_check;
int proc_oom_score_adj(int proc_fd, int *ret_adj) must_check;
int proc_loginuid(int proc_fd, uint32_t *ret_uid) must_check; /* UINT32_MAX: unset, or no audit in this kernel */
int proc_personality(int proc_fd, uint32_t *ret_personality) must_check;
int proc_coredump_filter(int proc_fd, uint32_t *ret_filter) must_check;
int proc_timers(int proc_fd, struct arena *a, struct proc_timer **ret_timers, size_t *ret_n) must_check;
/* Inode numbers of ns/NAME; 0 where the kernel has no such namespace. tid as above. */
int proc_namespaces(int proc_fd, pid_t tid, uint64_t ret_ino[PROC_NSES]) must_check;

/* The target of the link "exe", "cwd", "root", "fd/3", "ns/net"..., " (deleted)" left in. */
int proc_link(int proc_fd, const char *name, struct arena *a, char **ret_path) must_check;
/* Opens what the link points at, deleted or not; flags as for open(2). Returns the descriptor. */
int proc_link_open(int proc_fd, const char *name, int flags) must_check;

#endif
