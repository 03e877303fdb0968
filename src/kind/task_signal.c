/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals: actions, masks, alternate stacks, pending signals.
 *
 * Actions and the alternate stack are told to the task itself only, so they are
 * asked for. Pending signals are read without taking them (PTRACE_PEEKSIGINFO).
 *
 * Restore: mask and alternate stack come with the signal frame (arch/). A pending
 * signal is put back by the thread that has it: with a siginfo that claims to
 * come from the kernel or from kill() one may only signal oneself (rt_sigqueueinfo(2)).
 * All signals are blocked meanwhile, so they queue up, whatever their action is.
 *
 * Runs in the engine. Order in the table: actions before pending signals (an action
 * that becomes "ignore" throws them away), both before limits (RLIMIT_SIGPENDING)
 * and timers (whose signals come later than the ones that were pending).
 */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "kern/ptrace.h"
#include "kind/kind.h"
#include "kind/task_entry.h"

enum { SIGNALS = 64, MASK_LEN = 8, PEEK = 32 };

/* The kernel's struct sigaction. */
struct action {
	uint64_t handler_va, flags, restorer_va, mask;
};

/* stack_t as an image has it. */
struct altstack {
	uint64_t sp_va;
	uint32_t flags, pad;
	uint64_t len;
};

static bool has_action(int sig)
{
	return sig != SIGKILL && sig != SIGSTOP;
}

static void *signal_ask(struct dumping *d, struct dump_task *t, struct prog *p)
{
	uint64_t va;
	struct action *acts = prog_alloc(p->space, SIGNALS * sizeof(*acts), &va);

	(void)d, (void)t;
	prog_label(p, "ask for signal actions");
	for (int sig = 1; sig <= SIGNALS; sig++)
		if (has_action(sig))
			prog_sys(p, SYS_rt_sigaction, (uint64_t)sig, 0, va + (uint64_t)(sig - 1) * sizeof(*acts),
				 MASK_LEN);
	return acts;
}

static SaEntry *action_entry(struct arena *a, const struct action *act)
{
	SaEntry *e = arena_msg(a, sa_entry, SaEntry);

	e->sigaction = act->handler_va;
	e->flags = act->flags;
	e->restorer = act->restorer_va;
	e->mask = act->mask;
	e->has_compat_sigaction = true;
	return e;
}

/* All that wait in one queue, oldest first. */
static int dump_queue(struct arena *a, pid_t tid, bool shared, SignalQueueEntry **ret)
{
	SignalQueueEntry *q = arena_msg(a, signal_queue_entry, SignalQueueEntry);
	siginfo_t info[PEEK];

	for (;;) {
		int n = ptrace_peek_siginfo(tid, shared, q->n_signals, info, PEEK);

		if (n < 0)
			return n;
		for (int i = 0; i < n; i++) {
			SiginfoEntry *e = arena_msg(a, siginfo_entry, SiginfoEntry);

			e->siginfo.len = sizeof(info[i]);
			e->siginfo.data = arena_memdup(a, &info[i], sizeof(info[i]));
			arena_add(a, &q->signals, &q->n_signals, e);
		}
		if (n < PEEK)
			break;
	}
	*ret = q;
	return 0;
}

static int signal_dump(struct dumping *d, struct dump_task *t, const void *asked)
{
	TaskCoreEntry *tc = task_entry_shared(d->a, t->threads[0].core);
	const struct action *acts = asked;

	for (int sig = 1; sig <= SIGNALS; sig++)
		if (has_action(sig))
			arena_add(d->a, &tc->sigactions, &tc->n_sigactions, action_entry(d->a, &acts[sig - 1]));
	tc->blk_sigset = t->threads[0].sigmask;
	return 0;
}

static void *signal_ask_thread(struct dumping *d, struct dump_thread *th, struct prog *p)
{
	uint64_t va;
	struct altstack *old = prog_alloc(p->space, sizeof(*old), &va);

	(void)d, (void)th;
	prog_label(p, "ask for the alternate signal stack");
	prog_sys(p, SYS_sigaltstack, 0, va);
	return old;
}

/* What waits in queues. */
static bool signal_traces(const struct dump_thread *th, const void *asked)
{
	(void)asked;
	return th == th->task->threads || th->status.sig_pnd;
}

static int signal_dump_thread(struct dumping *d, struct dump_thread *th, const void *asked)
{
	ThreadCoreEntry *e = task_entry_thread(d->a, th->core);
	const struct altstack *old = asked;

	e->sas = arena_msg(d->a, thread_sas_entry, ThreadSasEntry);
	e->sas->ss_sp = old->sp_va;
	e->sas->ss_size = old->len;
	e->sas->ss_flags = old->flags;
	if (th != th->task->threads) {
		e->has_blk_sigset = true;
		e->blk_sigset = th->sigmask;
	} else {
		int r = dump_queue(d->a, th->tid, true, &task_entry_shared(d->a, th->core)->signals_s);

		if (r < 0)
			return r;
	}
	if (th->status.sig_pnd)
		return dump_queue(d->a, th->tid, false, &e->signals_p);
	e->signals_p = arena_msg(d->a, signal_queue_entry, SignalQueueEntry);
	return 0;
}

static int check_queue(const SignalQueueEntry *q)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		const ProtobufCBinaryData *raw = &q->signals[i]->siginfo;
		siginfo_t info;

		if (raw->len != sizeof(info))
			return err_say(EINVAL, "a pending signal has %zu bytes, %zu are needed", raw->len, sizeof(info));
		memcpy(&info, raw->data, sizeof(info));
		if (info.si_signo < 1 || info.si_signo > SIGNALS)
			return err_say(EINVAL, "pending signal %d does not exist", info.si_signo);
	}
	return 0;
}

static int signal_check(struct restoring *r, const struct snap_task *t)
{
	const TaskCoreEntry *tc = t->cores[0]->tc;
	int e = check_queue(tc->signals_s);

	(void)r;
	if (tc->n_sigactions > SIGNALS - 2)
		return err_say(EINVAL, "the image has actions for %zu signals, there are %d", tc->n_sigactions, SIGNALS - 2);
	for (size_t k = 0; e >= 0 && k < t->ncores; k++)
		e = check_queue(t->cores[k]->thread_core ? t->cores[k]->thread_core->signals_p : NULL);
	return e;
}

/* Tasks start with the default everywhere: the root's program resets what it inherited from thaw. */
static void emit_actions(const TaskCoreEntry *tc, struct prog *p)
{
	size_t i = 0;

	for (int sig = 1; sig <= SIGNALS && i < tc->n_sigactions; sig++) {
		const struct action none = { 0 };
		const SaEntry *e;
		struct action act;

		if (!has_action(sig))
			continue;
		e = tc->sigactions[i++];
		act = (struct action){ e->sigaction, e->flags, e->restorer, e->mask };
		if (!memcmp(&act, &none, sizeof(act)))
			continue;
		prog_label(p, "set the action of signal %d", sig);
		prog_sys(p, SYS_rt_sigaction, (uint64_t)sig, prog_data(p->space, &act, sizeof(act)), 0, MASK_LEN);
	}
}

static void emit_queue(struct prog *p, const SignalQueueEntry *q, uint32_t pid, uint32_t tid, bool shared)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		const ProtobufCBinaryData *raw = &q->signals[i]->siginfo;
		uint64_t info_va = prog_data(p->space, raw->data, raw->len);
		siginfo_t info;

		memcpy(&info, raw->data, sizeof(info));
		prog_label(p, "queue pending signal %d", info.si_signo);
		if (shared)
			prog_sys(p, SYS_rt_sigqueueinfo, pid, (uint64_t)info.si_signo, info_va);
		else
			prog_sys(p, SYS_rt_tgsigqueueinfo, pid, tid, (uint64_t)info.si_signo, info_va);
	}
}

static int signal_emit(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	const TaskCoreEntry *tc = t->cores[0]->tc;

	(void)r;
	emit_actions(tc, p);
	emit_queue(p, tc->signals_s, t->pst->pid, t->pst->pid, true);
	return 0;
}

static int signal_emit_thread(struct restoring *r, const struct snap_task *t, size_t k, struct prog *p)
{
	const ThreadCoreEntry *e = t->cores[k]->thread_core;

	(void)r;
	emit_queue(p, e->signals_p, t->pst->pid, t->pst->threads[k], false);
	return 0;
}

const struct kind_task kind_task_signal = {
	.name = "signals",
	.ask = signal_ask,
	.dump = signal_dump,
	.ask_thread = signal_ask_thread,
	.dump_thread = signal_dump_thread,
	.traces_thread = signal_traces,
	.check = signal_check,
	.emit = signal_emit,
	.emit_thread = signal_emit_thread,
};
