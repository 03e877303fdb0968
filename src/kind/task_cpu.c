/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread has of the CPU besides the registers in its signal frame: the
 * bases of fs and gs, the thread-local slots of the GDT, and the permission to use
 * components that the kernel gives on demand only.
 *
 * The registers themselves are read by the engine when it stops a thread (its own
 * questions change them) and come back by the signal frame behind the program.
 * Emitted in the thread itself; the blob uses neither fs nor gs. A thread inherits
 * both bases from the thread that made it and so, in the end, from the engine,
 * whose fs base points to its libc's data: fs is always set, gs when it is not 0.
 *
 * Runs in the engine; order in the table: anywhere. The permission is given before
 * alternate stacks come back, which it holds to a larger minimum.
 */
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch/x86_64/regs.h"
#include "arch/x86_64/xsave.h"
#include "kind/kind.h"
#include "kind/task_entry.h"

/* asm/prctl.h has them since 5.16 */
#ifndef ARCH_GET_XCOMP_PERM
#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif

enum { XTILE_DATA = 18 };

static UserDescT *slot_dump(struct arena *a, const struct user_desc *d)
{
	UserDescT *e = arena_msg(a, user_desc_t, UserDescT);

	e->entry_number = d->entry_number;
	e->base_addr = d->base_addr;
	e->limit = d->limit;
	e->seg_32bit = d->seg_32bit;
	e->contents_h = d->contents & 2;
	e->contents_l = d->contents & 1;
	e->read_exec_only = d->read_exec_only;
	e->limit_in_pages = d->limit_in_pages;
	e->seg_not_present = d->seg_not_present;
	e->usable = d->useable;
	return e;
}

/* Programs ask once, when they start, whether they may use AMX. */
static void *cpu_ask(struct dumping *d, struct dump_task *t, struct prog *p)
{
	uint64_t va, *perm = prog_alloc(p->space, sizeof(*perm), &va);

	(void)d, (void)t;
	prog_label(p, "ask for register components on demand");
	prog_try(p, SYS_arch_prctl, ARCH_GET_XCOMP_PERM, va); /* before 5.16 there are none */
	return perm;
}

static int cpu_dump(struct dumping *d, struct dump_task *t, const void *asked)
{
	TaskCoreEntry *tc = task_entry_shared(d->a, t->threads[0].core);

	tc->thaw_xcomp_perm = *(const uint64_t *)asked & XSAVE_ON_DEMAND;
	tc->has_thaw_xcomp_perm = tc->thaw_xcomp_perm != 0;
	return 0;
}

static void *cpu_ask_thread(struct dumping *d, struct dump_thread *th, struct prog *p)
{
	(void)d, (void)th;
	prog_label(p, "look for thread areas");
	return prog_do(p, OP_SEGMENTS, 0);
}

static bool cpu_traces(const struct dump_thread *th, const void *asked)
{
	const struct prog_rec *segments = asked;

	(void)th;
	return segments->ret != 0;
}

static int cpu_dump_thread(struct dumping *d, struct dump_thread *th, const void *asked)
{
	ThreadInfoX86 *info = regs_info(d->a, th->core);
	const struct prog_rec *segments = asked;

	for (unsigned i = 0; i < PIE_SEGMENTS; i++) {
		struct user_desc slot = { .entry_number = PIE_SEGMENT_FIRST + i,
					  .read_exec_only = 1,
					  .seg_not_present = 1 };

		/* a kernel without 32-bit support has no such slots */
		if (segments->ret >> i & 1 &&
		    ptrace(PTRACE_GET_THREAD_AREA, th->tid, slot.entry_number, &slot) < 0 && errno != EIO)
			return err_set(errno, "thread %d: read its thread area %u", th->tid, i);
		arena_add(d->a, &info->tls, &info->n_tls, slot_dump(d->a, &slot));
	}
	return 0;
}

static int cpu_check(struct restoring *r, const struct snap_task *t)
{
	if (t->cores[0]->tc->thaw_xcomp_perm & ~r->own.xsave.features && r->opts->cpu_cap != CPU_CAP_NONE)
		return err_say(ENOTSUP, "it may use AMX tiles, which this CPU (or its kernel) has not");
	for (size_t k = 0; k < t->ncores; k++) {
		int e = regs_check(t->cores[k]);

		if (e >= 0)
			e = xsave_check(t->cores[k], r->own.xsave.features, r->opts->cpu_cap == CPU_CAP_NONE);
		if (e < 0)
			return t->ncores > 1 ? err_ctx(e, "thread %u", t->pst->threads[k]) : e;
	}
	return 0;
}

static int cpu_emit(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	if (t->cores[0]->tc->thaw_xcomp_perm & r->own.xsave.features) {
		prog_label(p, "permit AMX tiles");
		prog_sys(p, SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILE_DATA);
	}
	return 0;
}

static void emit_slot(struct prog *p, const UserDescT *e)
{
	struct user_desc d = {
		.entry_number = e->entry_number,
		.base_addr = e->base_addr,
		.limit = e->limit,
		.seg_32bit = e->seg_32bit != 0,
		.contents = (e->contents_h ? 2u : 0u) | (e->contents_l ? 1u : 0u),
		.read_exec_only = e->read_exec_only != 0,
		.limit_in_pages = e->limit_in_pages != 0,
		.seg_not_present = e->seg_not_present != 0,
		.useable = e->usable != 0,
	};

	if (e->seg_not_present && !e->base_addr && !e->limit)
		return;
	prog_label(p, "set thread area %u", e->entry_number);
	prog_sys(p, SYS_set_thread_area, prog_data(p->space, &d, sizeof(d)));
}

static int cpu_emit_thread(struct restoring *r, const struct snap_task *t, size_t k, struct prog *p)
{
	const ThreadInfoX86 *info = t->cores[k]->thread_info;

	(void)r;
	if (xsave_features(t->cores[k]) & t->cores[0]->tc->thaw_xcomp_perm & XSAVE_ON_DEMAND) {
		prog_label(p, "use an AMX tile");
		prog_do(p, OP_TILES, 0);
	}
	for (size_t i = 0; i < info->n_tls; i++)
		emit_slot(p, info->tls[i]);
	prog_label(p, "set the base of fs");
	prog_sys(p, SYS_arch_prctl, ARCH_SET_FS, info->gpregs->fs_base);
	if (info->gpregs->gs_base) {
		prog_label(p, "set the base of gs");
		prog_sys(p, SYS_arch_prctl, ARCH_SET_GS, info->gpregs->gs_base);
	}
	return 0;
}

const struct kind_task kind_task_cpu = {
	.name = "cpu",
	.ask = cpu_ask,
	.dump = cpu_dump,
	.ask_thread = cpu_ask_thread,
	.dump_thread = cpu_dump_thread,
	.traces_thread = cpu_traces,
	.check = cpu_check,
	.emit = cpu_emit,
	.emit_thread = cpu_emit_thread,
};
