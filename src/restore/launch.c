/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From programs to processes: the shared space, the root task, and the watch
 * over the tree until every thread stands at the commit.
 *
 * The engine has no thread of its own yet when the root is forked. It is the
 * subreaper of whatever dies half-way, so that a failed restore leaves nothing.
 */
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/oom.h"
#include "base/progress.h"
#include "base/trace.h"
#include "kern/proc.h"
#include "kern/ptrace.h"
#include "kern/timens.h"
#include "page/shmem_fill.h"
#include "prog/blob_syms.h"
#include "restore/clocks.h"
#include "restore/gpu_restore.h"

enum { LOOKS = 64 };

static const uint64_t KILL_NS = 10000000000u;

static int map_space(struct restore *r)
{
	const struct layout *l = &r->lay;
	void *at;

	r->pie_fd = memfd_create("thaw-pie", MFD_CLOEXEC);
	if (r->pie_fd < 0 || ftruncate(r->pie_fd, (off_t)l->space_len) < 0)
		return err_set(errno, "make the program space");
	at = mmap((void *)l->hole_va, l->space_len, PROT_READ | PROT_WRITE | PROT_EXEC,
		  MAP_SHARED | MAP_FIXED_NOREPLACE, r->pie_fd, 0);
	if (at != (void *)l->hole_va)
		return err_set(errno, "map the program space at %lx", l->hole_va);
	at = mmap((void *)l->scratch_va, l->scratch_len, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (at != (void *)l->scratch_va)
		return err_set(errno, "map the stacks at %lx", l->scratch_va);
	return 0;
}

int launch_space(struct restore *r)
{
	size_t blob_len = (size_t)(pie_blob_end - pie_blob);
	int err = map_space(r);

	if (err >= 0)
		err = prog_space_init(&r->space, r->kinds.a, (void *)r->lay.hole_va, r->lay.hole_va, r->lay.space_len);
	if (err < 0)
		return err;
	r->kinds.space = &r->space;
	/* what follows is moved or unmapped before the commit, or is only reserved */
	blob_copy(prog_alloc(&r->space, blob_len, NULL), r->lay.space_len + r->lay.scratch_len);
	r->board = prog_alloc(&r->space, sizeof(*r->board) + r->tree.n * sizeof(struct pie_task), NULL);
	r->board->engine_pid = getpid();
	r->board->root_parent = r->kinds.opts->restore_sibling ? getppid() : getpid();
	for (size_t i = 0; i < r->tree.n; i++)
		r->board->task[i].pid = r->tree.tasks[i]->pid;
	return 0;
}

/* Runs in the root task, on the engine's stack, until the blob has its own. */
static _Noreturn void enter(struct restore *r)
{
	oom_volunteer(); /* with its memory filled each task becomes what it was (kind/task_identity.c) */
	__asm__ volatile("jmp *%0"
			 :
			 : "r"(r->lay.hole_va), "D"(r->board), "S"((uint64_t)0), "d"(r->tree.tasks[0]->start_va),
			   "c"(layout_leader_stack(&r->lay)));
	__builtin_unreachable();
}

int launch_root(struct restore *r)
{
	pid_t pid = r->tree.tasks[0]->pid;
	bool sibling = r->kinds.opts->restore_sibling;
	struct clone_args args = {
		.flags = sibling ? CLONE_PARENT : 0,
		.exit_signal = sibling ? 0 : SIGCHLD,
		.set_tid = (uint64_t)&pid,
		.set_tid_size = 1,
	};
	sigset_t all, before;
	int clocks, err;
	long made;

	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return err_set(errno, "become the subreaper");
	err = clocks_set(r, &clocks);
	if (err < 0)
		return err;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	made = syscall(SYS_clone3, &args, sizeof(args));
	if (!made)
		enter(r);
	if (made < 0)
		made = -errno;
	timens_leave(clocks);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (made < 0)
		return made == -EEXIST ?
			       err_say(EEXIST, "PID %d is taken by another process: end it, or restore in a new PID namespace", pid) :
			       err_set((int)-made, "create task %d", pid);
	__atomic_store_n(&r->board->task[0].born, 1, __ATOMIC_RELEASE);
	r->root = (pid_t)made;
	r->forked_ns = trace_now_ns();
	return 0;
}

/* 1 and its wait status if the task is dead, a zombie included. */
static int has_ended(pid_t pid, int *ret_status)
{
	auto_close int fd = proc_open(pid);
	struct proc_stat stat;

	*ret_status = 0;
	if (fd < 0 || proc_stat_read(fd, 0, &stat) < 0)
		return 1;
	*ret_status = stat.exit_code;
	return stat.state == 'Z' || stat.state == 'X';
}

/*
 * Is somebody gone that has not finished? Looked at now and then, some tasks at a time: one that is killed (for
 * memory, say) says nothing itself, and the others would wait for it. Zombies and helpers die once all are grouped.
 */
static int look_for_dead(struct restore *r)
{
	const struct pie_board *b = r->board;

	for (size_t i = 0; i < LOOKS && i < r->tree.n; i++) {
		uint32_t at = r->looked_at++ % (uint32_t)r->tree.n;
		const struct rtask *k = r->tree.tasks[at];
		int status;

		if (__atomic_load_n(&b->task[at].born, __ATOMIC_ACQUIRE) && has_ended(k->pid, &status) &&
		    (k->role == RTASK_ALIVE || !__atomic_load_n(&b->barrier[BARRIER_GROUPED].open, __ATOMIC_ACQUIRE)))
			return blame_death(r, k, status);
	}
	return 0;
}

static bool all_stand(const struct restore *r)
{
	return __atomic_load_n(&r->board->arrived, __ATOMIC_ACQUIRE) == r->tree.nthreads;
}

/* GPUs do not ring it: while they work, once everybody stands, their agent is listened to, and before that often. */
static void sleep_on_bell(struct restore *r, uint32_t heard)
{
	struct timespec t = { .tv_nsec = (gpu_restore_left(r) ? 2 : 20) * 1000 * 1000 };
	struct pollfd agent = { .fd = gpu_restore_fd(r), .events = POLLIN };

	if (gpu_restore_left(r) && all_stand(r))
		poll(&agent, 1, 20);
	else
		syscall(SYS_futex, &r->board->bell, 0 /* FUTEX_WAIT */, heard, &t, NULL, 0);
}

int launch_wait(struct restore *r)
{
	struct pie_board *b = r->board;
	struct progress bar;
	uint64_t looked = trace_now_ns();
	int err = 0;

	progress_start(&bar, "restore", (const _Atomic uint64_t *)&b->bytes, r->fill_bytes, r->kinds.opts->progress);
	while (err >= 0) {
		uint32_t heard = __atomic_load_n(&b->bell, __ATOMIC_ACQUIRE);

		err = gpu_restore_tend(r);
		if (err < 0)
			break;
		if (__atomic_load_n(&b->failed, __ATOMIC_ACQUIRE))
			err = blame_board(r);
		else if (all_stand(r) && !gpu_restore_left(r))
			break;
		else if (trace_now_ns() - looked > 20 * 1000 * 1000) {
			looked = trace_now_ns();
			err = look_for_dead(r);
			/* who dies right after saying why must not be blamed for dying */
			if (err < 0 && __atomic_load_n(&b->failed, __ATOMIC_ACQUIRE))
				err = blame_board(r);
		}
		if (err >= 0)
			err = guard_check();
		if (err >= 0)
			sleep_on_bell(r, heard);
		progress_tick(&bar);
	}
	progress_end(&bar);
	return err;
}

/* Numbers are used again: a helper that is gone may have left its own to a stranger. */
static bool is_ours(const struct restore *r, pid_t pid)
{
	auto_close int fd = proc_open(pid);
	struct proc_stat stat;

	if (fd < 0 || proc_stat_read(fd, 0, &stat) < 0)
		return false;
	for (size_t i = 0; i < r->tree.n; i++)
		if (r->tree.tasks[i]->pid == stat.ppid)
			return true;
	return stat.ppid == getpid() || stat.ppid == r->board->root_parent;
}

static void kill_tasks(const struct restore *r)
{
	for (size_t i = 0; i < r->tree.n; i++) {
		pid_t pid = r->tree.tasks[i]->pid;

		if (__atomic_load_n(&r->board->task[i].born, __ATOMIC_ACQUIRE) && is_ours(r, pid))
			kill(pid, SIGKILL);
	}
}

/* Whatever a dead task leaves, page workers included, becomes a child of the engine. */
static void kill_children(struct restore *r)
{
	auto_close int self = proc_open(getpid());
	pid_t *pids = NULL;
	size_t n = 0;

	if (self < 0 || proc_children(self, getpid(), r->kinds.a, &pids, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
}

/* Everything that was born dies and is reaped; helpers and zombies too. */
void launch_kill(struct restore *r)
{
	struct ptrace_waiter w;
	int status, late = 0;
	pid_t pid;

	if (!r->board)
		return;
	__atomic_store_n(&r->board->failed, 1, __ATOMIC_RELEASE);
	kill_tasks(r);
	ptrace_waiter_begin(&w, trace_now_ns() + KILL_NS);
	while (!late && (pid = waitpid(-1, &status, WNOHANG | __WALL)) >= 0)
		if (!pid) {
			kill_children(r);
			late = ptrace_waiter_pause(&w);
		}
	ptrace_waiter_end(&w);
	if (late)
		log_warn("tasks that were to be restored do not end: they are stuck in the kernel");
}
