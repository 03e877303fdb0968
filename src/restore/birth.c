/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a task's program, and all of it for one that is not to live.
 *
 *   the root sheds what it has of the engine | children of the former session | session
 *   or group | other children | its memory | heirs, children of the former session first |
 *   barrier: all are born | group | barrier: all are grouped | zombies and helpers end
 *
 * Heirs are those who share copy-on-write memory with their creator (heritage.h). All
 * others are made at once, so that the whole tree fills its memory at the same time. If
 * an heir is a child of the former session, the session has to wait for it, and so do
 * all who come behind the session.
 *
 * Siblings could make each other, too (CLONE_PARENT). It does not pay: 200 take 25 ms by one and 26 by four, with 16
 * CPUs, for all copies of one memory share a lock that fork takes.
 *
 * Signals stay blocked all the way, but for SIGCHLD until the zombies are dead:
 * with its default action an unblocked SIGCHLD vanishes at once, a blocked one
 * would wait for the restored program.
 */
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kern/maps.h"
#include "restore/rt.h"

enum { RSEQ_UNIT = 32 };

static uint64_t mask_data(struct restore *r, uint64_t mask)
{
	return prog_data(&r->space, &mask, sizeof(mask));
}

static void emit_mask(struct restore *r, struct prog *p, uint64_t mask)
{
	prog_label(p, "block signals");
	prog_sys(p, SYS_rt_sigprocmask, SIG_SETMASK, mask_data(r, mask), 0, sizeof(mask));
}

/* It wants the length it was registered with: that of the kernel's area, in the unit of its alignment. */
static void emit_no_rseq(struct prog *p)
{
	uint64_t area_va = (uint64_t)((char *)__builtin_thread_pointer() + __rseq_offset);

	prog_label(p, "unregister the engine's rseq area");
	for (uint64_t len = RSEQ_UNIT; __rseq_size && len <= 8 * RSEQ_UNIT; len += RSEQ_UNIT)
		prog_try(p, SYS_rseq, area_va, len, 1 /* UNREGISTER */, RSEQ_SIG);
}

/* The root is a fork of the engine: it sheds the engine's memory, its libc's registrations and its signal actions. */
static void emit_shed(struct restore *r, struct prog *p)
{
	const struct layout *l = &r->lay;
	const uint64_t dfl[4] = { 0 };
	uint64_t sa[4]; /* the kernel's: libc hides the actions of those signals that it uses for its threads */

	emit_no_rseq(p);
	prog_label(p, "reset the engine's robust list");
	prog_sys(p, SYS_set_robust_list, 0, 24);
	for (int sig = 1; sig < 65; sig++)
		if (!syscall(SYS_rt_sigaction, sig, NULL, sa, 8) && sa[0] != (uint64_t)(uintptr_t)SIG_DFL) {
			prog_label(p, "reset signal %d", sig);
			prog_sys(p, SYS_rt_sigaction, (uint64_t)sig, prog_data(&r->space, dfl, sizeof(dfl)), 0, 8);
		}
	prog_label(p, "park the vdso");
	for (size_t i = 0; i < l->npieces; i++)
		prog_sys(p, SYS_mremap, l->vdso_block_va + l->piece[i].off, l->piece[i].len, l->piece[i].len,
			 MREMAP_MAYMOVE | MREMAP_FIXED, l->park_va + l->piece[i].off);
	prog_label(p, "unmap the engine");
	prog_sys(p, SYS_munmap, 0, l->hole_va);
	prog_sys(p, SYS_munmap, l->end_va, MAPS_END_VA - l->end_va);
}

static void emit_fork(struct restore *r, const struct rtask *k, struct prog *p)
{
	struct pie_fork f = {
		.flags = k->by_sibling ? CLONE_PARENT : 0,
		.start_va = k->start_va,
		.task = k->index,
		.pid = k->pid,
		.exit_signal = SIGCHLD,
	};

	prog_label(p, "create task %d%s", k->pid, k->t ? "" : " (a stand-in for a dead group or session leader)");
	prog_do(p, OP_FORK, prog_data(&r->space, &f, sizeof(f)));
}

/* Those that find its memory, or those that find none. */
static void emit_forks(struct restore *r, struct rtask *const *all, size_t n, bool memory, struct prog *p)
{
	for (size_t i = 0; i < n; i++)
		if (all[i]->finds_memory == memory)
			emit_fork(r, all[i], p);
}

static void emit_session(const struct rtask *k, struct prog *p)
{
	if (k->sid == k->pid) {
		prog_label(p, "make session %d", k->pid);
		prog_sys(p, SYS_setsid, 0);
	} else if (k->pgid == k->pid) {
		prog_label(p, "make process group %d", k->pid);
		prog_sys(p, SYS_setpgid, 0, 0);
	}
}

static bool has_early_heirs(const struct rtask *k)
{
	for (size_t i = 0; i < k->nearly; i++)
		if (k->early[i]->finds_memory)
			return true;
	return false;
}

/* Zombies are waited for until they are dead, helpers until they are gone. */
static void emit_burials(struct restore *r, const struct rtask *k, struct prog *p)
{
	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *c = r->tree.tasks[i];

		if (c->parent != k || c->role == RTASK_ALIVE)
			continue;
		prog_label(p, "wait for task %d to end", c->pid);
		prog_do(p, c->role == RTASK_ZOMBIE ? OP_ZOMBIE : OP_REAP, (uint64_t)c->pid);
	}
}

void birth_emit(struct restore *r, const struct rtask *k, struct prog *p)
{
	if (!k->index)
		emit_shed(r, p);
	emit_mask(r, p, ~(UINT64_C(1) << (SIGCHLD - 1)));
	emit_forks(r, k->early, k->nearly, false, p);
	if (has_early_heirs(k))
		return;
	emit_session(k, p);
	emit_forks(r, k->late, k->nlate, false, p);
}

void birth_emit_heirs(struct restore *r, const struct rtask *k, struct prog *p)
{
	if (has_early_heirs(k)) {
		emit_forks(r, k->early, k->nearly, true, p);
		emit_session(k, p);
	}
	emit_forks(r, k->late, k->nlate, true, p);
}

void birth_emit_end(struct restore *r, const struct rtask *k, struct prog *p)
{
	prog_do(p, OP_BARRIER, BARRIER_BORN);
	if (k->joins) {
		prog_label(p, "join process group %d", k->pgid);
		prog_sys(p, SYS_setpgid, 0, (uint64_t)k->pgid);
	}
	prog_do(p, OP_BARRIER, BARRIER_GROUPED);
	emit_burials(r, k, p);
	emit_mask(r, p, ~UINT64_C(0));
}

void birth_emit_death(struct restore *r, const struct rtask *k, struct prog *p)
{
	uint32_t code = k->t ? k->t->cores[0]->tc->exit_code : 0;

	if (k->t && k->t->cores[0]->tc->comm) {
		char comm[16] = "";

		strncpy(comm, k->t->cores[0]->tc->comm, sizeof(comm) - 1);
		prog_sys(p, SYS_prctl, PR_SET_NAME, prog_data(&r->space, comm, sizeof(comm)));
	}
	if (code & 0x7f) {
		prog_label(p, "end by signal %u", code & 0x7f);
		prog_sys(p, SYS_prctl, PR_SET_DUMPABLE,
			 0); /* one core dump is enough, also for who gets it through a pipe */
		prog_sys(p, SYS_kill, (uint64_t)k->pid, code & 0x7f);
		emit_mask(r, p, 0);
	}
	prog_do(p, OP_EXIT, code >> 8 & 0xff);
}
