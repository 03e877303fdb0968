/* SPDX-License-Identifier: Apache-2.0 */
/* A task's and its threads' state, registers and IDs (check.h). That IDs are there once was seen to by the loader. */
#include "snap/check.h"

/* The kernel's PID_MAX_LIMIT. */
enum { PID_MOST = 4194304 };

static const uint64_t CS_32_BIT = 0x23;

static int check_id(const char *what, uint32_t id)
{
	if (!id || id > PID_MOST)
		return err_say(EINVAL, "pstree.img: %s %u is none", what, id);
	return 0;
}

static int check_ids(const PstreeEntry *e)
{
	int r = 0;

	/* a group or session outside of what the dump could see is 0 */
	if (e->pgid > PID_MOST || e->sid > PID_MOST)
		return err_say(EINVAL, "pstree.img: %s %u is none", e->sid > PID_MOST ? "session" : "process group",
			       e->sid > PID_MOST ? e->sid : e->pgid);
	for (size_t i = 0; r >= 0 && i < e->n_threads; i++)
		r = check_id(i ? "thread ID" : "PID", e->threads[i]);
	return r;
}

static int check_state(const struct snap_task *t)
{
	uint32_t state = t->cores[0]->tc->task_state;

	if (t->parent && t->parent->zombie)
		return err_say(EINVAL, "pstree.img: its parent %u is dead", t->pst->ppid);
	if (t->zombie && !t->parent)
		return err_say(EINVAL, "core-%u.img: the root of the tree is dead", t->pst->pid);
	if (!t->zombie && state != TASK_ALIVE && state != TASK_STOPPED)
		return err_say(ENOTSUP, "core-%u.img: task state %u is not supported yet", t->pst->pid, state);
	return 0;
}

static int check_seccomp_mode(const CoreEntry *c)
{
	const ThreadCoreEntry *th = c->thread_core;

	if ((th && th->has_seccomp_mode && th->seccomp_mode != SECCOMP_MODE__disabled) ||
	    (c->tc && c->tc->has_old_seccomp_mode && c->tc->old_seccomp_mode != SECCOMP_MODE__disabled))
		return err_say(ENOTSUP, "seccomp is not supported yet");
	return 0;
}

static int check_core(const CoreEntry *c)
{
	const UserX86RegsEntry *regs;

	if (c->mtype != CORE_ENTRY__MARCH__X86_64)
		return err_say(ENOTSUP, "its registers are those of another architecture (%d), not of x86-64",
			       (int)c->mtype);
	if (!c->thread_info)
		return err_say(EINVAL, "has no registers");
	regs = c->thread_info->gpregs;
	if ((regs->has_mode && regs->mode != USER_X86_REGS_MODE__NATIVE) || regs->cs == CS_32_BIT)
		return err_say(ENOTSUP, "32-bit tasks are not supported yet");
	return check_seccomp_mode(c);
}

int check_task(const struct snap_task *t)
{
	int r = check_ids(t->pst);

	if (r >= 0)
		r = check_state(t);
	for (size_t i = 0; r >= 0 && !t->zombie && i < t->ncores; i++)
		r = err_ctx(check_core(t->cores[i]), "core-%u.img", t->pst->threads[i]);
	return r;
}
