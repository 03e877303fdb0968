/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way home (home.h).
 *
 * Threads but the leader take their registers from their signal frames by themselves. The leader is sent through its
 * own sigreturn and stands right behind it with its final registers. When the last of the others has left the hole, the
 * leader unmaps it. Its signals stay blocked for that one system call, which it makes on a ledge (arch/ledge.h),
 * so that it lives even if the engine does not.
 *
 * A task that is to be stopped must not run an instruction of its program: all of its threads are sent home in this
 * way, and the signal that stops the task waits for them when they are let go.
 */
#include "restore/home.h"

#include <signal.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "kern/proc.h"
#include "kern/ptrace.h"
#include "prog/blob_syms.h"
#include "restore/gpu_restore.h"
#include "restore/stragglers.h"
#include "restore/vdso_place.h"

static const uint64_t PATIENCE_NS = 5000000000u;

static uint64_t deadline(void)
{
	return trace_now_ns() + PATIENCE_NS;
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

static pid_t tid_of(const struct rtask *k, size_t i)
{
	return (pid_t)k->t->pst->threads[i];
}

bool home_traced(const struct restore *r, const struct rtask *k, size_t i)
{
	return !i || stays_stopped(r, k) || i == ahead_of(r, k);
}

static int begin_sigreturn(const struct restore *r, const struct rtask *k, size_t i)
{
	struct user_regs_struct regs;
	int err = ptrace_get_regs(tid_of(k, i), &regs);

	if (err < 0)
		return err;
	regs.rsp = k->frames_va[i] + 8; /* as pie_sigreturn does it */
	return ptrace_call_begin(tid_of(k, i), &regs, r->lay.hole_va + blob_syscall_off(), SYS_rt_sigreturn,
				 (uint64_t[6]){ 0 });
}

int home_send(const struct restore *r, const struct rtask *k, size_t i, struct user_regs_struct *ret_home)
{
	int err = begin_sigreturn(r, k, i);

	if (err >= 0)
		err = ptrace_call_enter(tid_of(k, i), deadline());
	return err < 0 ? err : ptrace_call_end(tid_of(k, i), deadline(), ret_home);
}

/* The others of a task that stays stopped, and the leader on its way. */
static int set_out(struct home *h)
{
	struct user_regs_struct other;
	int err = 0;

	for (size_t i = 1; err >= 0 && i < h->k->t->ncores; i++)
		if (home_traced(h->r, h->k, i) && i != ahead_of(h->r, h->k))
			err = err_ctx(home_send(h->r, h->k, i, &other), "thread %d", tid_of(h->k, i));
	return err < 0 ? err : begin_sigreturn(h->r, h->k, 0);
}

static int enter(struct home *h)
{
	return ptrace_call_enter(h->k->pid, deadline());
}

/*
 * A ledge in the task's vdso, for its leader; without one it would be lost if the engine were killed right now, since
 * the call takes its own instruction away.
 */
static struct ledge make_ledge(const struct home *h)
{
	const struct restore *r = h->r;
	struct ledge l = { .call_va = r->lay.hole_va + blob_syscall_off(), .mem_fd = -1 };
	const struct ledge_way way = { .home = &h->regs, .mask = h->mask };
	uint64_t vdso_va = vdso_place_va(r, h->k->t);
	auto_close int proc_fd = vdso_va ? proc_open(h->k->pid) : -1;

	if (proc_fd >= 0 && ledge_put(proc_fd, vdso_va, r->lay.vdso_len, &way, &l) < 0)
		log_debug("task %d: %s", h->k->pid, err_text());
	return l;
}

static int begin_unmap(struct home *h)
{
	const uint64_t args[6] = { h->r->lay.hole_va, h->r->lay.end_va - h->r->lay.hole_va };
	int err = ptrace_call_end(h->k->pid, deadline(), &h->regs);

	if (err >= 0 && !stays_stopped(h->r, h->k) && !stragglers_wait(h->r, h->k, h->a))
		err = err_say(ETIMEDOUT, "its threads did not leave the restorer's memory, which stays mapped");
	if (err >= 0)
		err = ptrace_get_sigmask(h->k->pid, &h->mask);
	if (err < 0)
		return err;
	h->ledge = make_ledge(h);
	h->away = true;
	return ptrace_call_begin(h->k->pid, &h->regs, h->ledge.call_va, SYS_munmap, args);
}

static int end_unmap(struct home *h)
{
	struct user_regs_struct after;
	int err = ptrace_call_end(h->k->pid, deadline(), &after);

	if (err >= 0 && after.rax)
		err = err_set((int)-after.rax, "unmap the restorer's memory");
	return err;
}

static void check(struct home *h, int err)
{
	if (err >= 0)
		return;
	if (!h->failed)
		log_warn("task %d (%s): %s", h->k->pid, snap_comm(h->k->t), err_text());
	h->failed = true;
}

void home_step(struct home *h, unsigned step)
{
	static int (*const steps[HOME_STEPS])(struct home *h) = { set_out, enter, begin_unmap, enter, end_unmap };

	if (!h->failed)
		check(h, steps[step](h));
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

static int put_back(struct home *h)
{
	int err = ptrace_set_sigmask(h->k->pid, h->mask);

	if (err >= 0)
		err = ptrace_set_regs(h->k->pid, &h->regs);
	if (err >= 0)
		ledge_take(&h->ledge);
	return err;
}

void home_end(struct home *h)
{
	if (h->away)
		check(h, put_back(h));
	if (stays_stopped(h->r, h->k) && kill(h->k->pid, stop_signal(h->k)) < 0)
		check(h, err_set(errno, "stop it"));
	for (size_t i = 0; i < h->k->t->ncores; i++)
		if (home_traced(h->r, h->k, i))
			(void)!ptrace_detach(tid_of(h->k, i), 0);
}
