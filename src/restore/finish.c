/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a restore: commit, and nothing of thaw stays in the tasks.
 *
 * All threads stand at the commit. The leaders are stopped under ptrace first;
 * then one store releases everybody, and that store is the restore: a thaw that
 * is killed before it leaves nothing, one that is killed after it leaves a tree
 * that runs (at worst with the hole still mapped).
 *
 * The other threads take their registers from their signal frames by themselves.
 * When the last of a task has left the hole, its leader is sent through its own
 * sigreturn, and, standing right behind it with its final registers, made to
 * unmap the hole. Its signals stay blocked for that one system call, which it makes on a ledge
 * (arch/ledge.h), so that it lives even if the engine does not.
 *
 * One thread of a CUDA process goes before the commit (gpu_restore.h): it only gets its signals back here.
 *
 * A task that is to be stopped must not run an instruction of its program: all of
 * its threads are stopped under ptrace and sent home in this way, and the signal
 * that stops the task waits for them when they are let go.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "arch/x86_64/ledge.h"
#include "arch/x86_64/regs.h"
#include "base/cleanup.h"
#include "base/crew.h"
#include "base/guard.h"
#include "base/io.h"
#include "base/log.h"
#include "base/trace.h"
#include "kern/proc.h"
#include "kern/ptrace.h"
#include "prog/blob_syms.h"
#include "restore/gpu_restore.h"
#include "restore/vdso_place.h"

static const uint64_t PATIENCE_NS = 5000000000u;

/* So often a thread that runs is looked at before it is stopped to be asked: mostly it is just on its way. */
enum { LOOKS = 10 };

static bool in_hole(const struct restore *r, uint64_t va)
{
	return va >= r->lay.hole_va && va < r->lay.end_va;
}

static bool stays_stopped(const struct restore *r, const struct rtask *k)
{
	return r->kinds.opts->leave_stopped || k->t->cores[0]->tc->task_state == TASK_STOPPED;
}

/* The thread that is at home already, 0: none. */
static size_t ahead_of(const struct restore *r, const struct rtask *k)
{
	uint64_t mask;

	return gpu_restore_thread(r, k, &mask);
}

/* Is thread i stopped under ptrace for the commit? */
static bool is_traced(const struct restore *r, const struct rtask *k, size_t i)
{
	return !i || stays_stopped(r, k) || i == ahead_of(r, k);
}

static size_t threads_of(const struct rtask *k)
{
	return k->role == RTASK_ALIVE ? k->t->ncores : 0;
}

static pid_t tid_of(const struct rtask *k, size_t i)
{
	return (pid_t)k->t->pst->threads[i];
}

static int begin_stop(pid_t tid)
{
	int err = ptrace_seize(tid, PTRACE_O_TRACESYSGOOD);

	return err < 0 ? err : ptrace_interrupt(tid);
}

static int wait_stopped(pid_t tid)
{
	struct ptrace_stop stop;
	int err = ptrace_wait_stop(tid, trace_now_ns() + PATIENCE_NS, &stop);

	if (err >= 0 && stop.kind == PTRACE_STOP_DIED)
		return err_say(ESRCH, "it died while it waited for the commit");
	return err;
}

static int each_traced(const struct restore *r, int (*fn)(pid_t tid))
{
	for (size_t i = 0; i < r->tree.n; i++)
		for (size_t j = 0; j < threads_of(r->tree.tasks[i]); j++) {
			const struct rtask *k = r->tree.tasks[i];
			int err = is_traced(r, k, j) ? fn(tid_of(k, j)) : 0;

			if (err < 0)
				return err_ctx(err, "task %d (%s)", k->pid, snap_comm(k->t));
		}
	return 0;
}

/* --- threads that go by themselves --------------------------------------------------------------- */

/*
 * Where a thread is: the kernel shows it of one that waits ("nr args sp pc"). 1: outside of the hole, or gone;
 * 0: inside; -EAGAIN: it runs.
 */
static int where_is(const struct restore *r, pid_t pid, pid_t tid)
{
	char path[64], text[256];
	unsigned long long pc;
	const char *last;
	auto_close int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -errno : io_read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return n == -ENOENT || n == -ESRCH ? 1 : -EAGAIN;
	text[n] = 0;
	last = strrchr(text, ' ');
	if (!strncmp(text, "running", 7) || !last || sscanf(last, " %llx", &pc) != 1)
		return -EAGAIN;
	return !in_hole(r, pc);
}

/* The same for one that always runs: it is stopped for a moment. A call that this ends early starts again. */
static int stop_and_ask(const struct restore *r, pid_t tid)
{
	struct user_regs_struct regs;
	struct ptrace_stop stop;
	int err = ptrace_seize(tid, 0), left = 0;

	if (err < 0)
		return err == -ESRCH;
	err = ptrace_interrupt(tid);
	if (err >= 0)
		err = ptrace_wait_stop(tid, trace_now_ns() + PATIENCE_NS, &stop);
	if (err >= 0 && stop.kind == PTRACE_STOP_DIED)
		return 1;
	if (err >= 0)
		err = ptrace_get_regs(tid, &regs);
	if (err >= 0) {
		left = !in_hole(r, regs.rip);
		if (regs_begin_again(&regs))
			(void)!ptrace_set_regs(tid, &regs);
	}
	(void)!ptrace_detach(tid, 0);
	return left;
}

struct leaving {
	const struct restore *r;
	const struct rtask *k;
	uint64_t deadline;
};

static int wait_for_thread(void *ctx, size_t i, struct arena *a)
{
	const struct leaving *w = ctx;
	pid_t tid = tid_of(w->k, i + 1);
	int left, looks = 0;

	(void)a;
	while ((left = where_is(w->r, w->k->pid, tid)) <= 0) {
		if (left < 0 && ++looks % LOOKS == 0 && stop_and_ask(w->r, tid) > 0)
			break;
		if (trace_now_ns() > w->deadline)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

/* True when all threads but the leader are outside of the hole: a look at each costs 15 us, so a crew does it. */
static bool wait_for_threads(const struct restore *r, const struct rtask *k)
{
	struct leaving w = { r, k, trace_now_ns() + PATIENCE_NS };

	return crew_finish(crew_start(r->kinds.a, k->t->ncores - 1, wait_for_thread, &w)) >= 0;
}

/* --- threads that are sent ------------------------------------------------------------------------ */

/* Through its sigreturn: afterwards it stands with the registers and the mask of the image. */
static int send_home(const struct restore *r, const struct rtask *k, size_t i, struct user_regs_struct *ret_home)
{
	struct user_regs_struct regs;
	int err = ptrace_get_regs(tid_of(k, i), &regs);

	if (err < 0)
		return err;
	regs.rsp = k->frames_va[i] + 8; /* as pie_sigreturn does it */
	return ptrace_call(tid_of(k, i), &regs, r->lay.hole_va + blob_syscall_off(), SYS_rt_sigreturn,
			   (uint64_t[6]){ 0 }, trace_now_ns() + PATIENCE_NS, ret_home);
}

/*
 * A ledge in the task's vdso, for its leader; without one it would be lost if the engine were killed right now, since
 * the call takes its own instruction away.
 */
static struct ledge make_ledge(const struct restore *r, const struct rtask *k, const struct user_regs_struct *home,
			       uint64_t mask)
{
	struct ledge l = { .call_va = r->lay.hole_va + blob_syscall_off(), .mem_fd = -1 };
	uint64_t vdso_va = vdso_place_va(r, k->t);
	auto_close int proc_fd = vdso_va ? proc_open(k->pid) : -1;

	if (proc_fd >= 0 && ledge_put(proc_fd, vdso_va, r->lay.vdso_len, home, mask, &l) < 0)
		log_debug("task %d: %s", k->pid, err_text());
	return l;
}

static int unmap_hole(const struct restore *r, const struct rtask *k, const struct user_regs_struct *home)
{
	const uint64_t args[6] = { r->lay.hole_va, r->lay.end_va - r->lay.hole_va };
	struct user_regs_struct after = { 0 };
	struct ledge ledge;
	uint64_t mask;
	int err = ptrace_get_sigmask(k->pid, &mask), err2;

	if (err < 0)
		return err;
	ledge = make_ledge(r, k, home, mask);
	err = ptrace_call(k->pid, home, ledge.call_va, SYS_munmap, args, trace_now_ns() + PATIENCE_NS, &after);
	if (err >= 0 && after.rax)
		err = err_set((int)-after.rax, "unmap the restorer's memory");
	err2 = ptrace_set_sigmask(k->pid, mask);
	if (err2 >= 0)
		err2 = ptrace_set_regs(k->pid, home);
	if (err2 >= 0)
		ledge_take(&ledge);
	return err < 0 ? err : err2;
}

/* What stopped it. But SIGTSTP and its like do nothing in a group that has no parent in its session (setpgid(2)). */
static int stop_signal(const struct rtask *k)
{
	const TaskCoreEntry *tc = k->t->cores[0]->tc;
	const struct rtask *p = k->parent;

	if (tc->task_state != TASK_STOPPED || !tc->has_stop_signo || !p || p->sid != k->sid || p->pgid == k->pgid)
		return SIGSTOP;
	if (tc->stop_signo == SIGTSTP || tc->stop_signo == SIGTTIN || tc->stop_signo == SIGTTOU)
		return (int)tc->stop_signo;
	return SIGSTOP;
}

static int finish_task(const struct restore *r, const struct rtask *k)
{
	struct user_regs_struct home, other;
	bool stopped = stays_stopped(r, k), all_left = stopped || wait_for_threads(r, k);
	int err = 0;

	for (size_t i = 1; err >= 0 && i < threads_of(k); i++)
		if (is_traced(r, k, i) && i != ahead_of(r, k))
			err = err_ctx(send_home(r, k, i, &other), "thread %d", tid_of(k, i));
	all_left &= err >= 0;
	if (err >= 0)
		err = send_home(r, k, 0, &home);
	if (err >= 0)
		err = all_left ? unmap_hole(r, k, &home) :
				 err_say(ETIMEDOUT, "its threads did not leave the restorer's memory, which stays mapped");
	if (stopped && kill(k->pid, stop_signal(k)) < 0 && err >= 0)
		err = err_set(errno, "stop it");
	for (size_t i = 0; i < threads_of(k); i++)
		if (is_traced(r, k, i))
			(void)!ptrace_detach(tid_of(k, i), 0);
	return err;
}

static void commit(const struct restore *r)
{
	__atomic_store_n(&r->board->commit, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &r->board->commit, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
}

int finish_ahead(const struct restore *r, const struct rtask *k, size_t thread, uint64_t *ret_mask)
{
	struct user_regs_struct home;
	pid_t tid = tid_of(k, thread);
	int err = begin_stop(tid);

	if (err >= 0)
		err = wait_stopped(tid);
	if (err >= 0)
		err = send_home(r, k, thread, &home);
	if (err >= 0)
		err = ptrace_get_sigmask(tid, ret_mask);
	if (err >= 0)
		err = ptrace_set_sigmask(tid, UINT64_MAX);
	if (err >= 0)
		err = ptrace_detach(tid, 0) ? err_say(ESRCH, "it has ended") : 0;
	return err_ctx(err, "thread %d", tid);
}

/* From the commit on they take signals like everybody. */
static int unmask_ahead(const struct restore *r)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];
		uint64_t mask;
		size_t thread = gpu_restore_thread(r, k, &mask);

		if (thread)
			err = err_ctx(ptrace_set_sigmask(tid_of(k, thread), mask), "task %d (%s)", k->pid, snap_comm(k->t));
	}
	return err;
}

int finish_release(struct restore *r)
{
	int err = each_traced(r, begin_stop);

	if (err >= 0)
		err = each_traced(r, wait_stopped);
	if (err >= 0)
		err = unmask_ahead(r);
	if (err < 0)
		return err;
	guard_too_late();
	commit(r);
	/* from here on nothing can be taken back: what fails is said, the tree lives */
	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];

		if (k->role == RTASK_ALIVE && finish_task(r, k) < 0)
			log_warn("task %d (%s): %s", k->pid, snap_comm(k->t), err_text());
	}
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	return 0;
}
