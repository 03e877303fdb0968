/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal frames (sigframe.h). Built in the engine, read by the kernel in the task.
 *
 * What the kernel insists on (6.18, fpu/signal.c): the extended area is aligned to
 * 64 bytes, has MAGIC1 with its size in the software bytes of the legacy block and
 * MAGIC2 right behind that size, and the size is not above what the thread's own
 * area has: that of all features that need no permission, plus AMX tile data once
 * the thread has used it. If anything of this is wrong it does not fail: it takes
 * x87 and SSE and forgets the rest. test/unit/test_sigframe.c looks at the result.
 */
#include "arch/x86_64/sigframe.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "arch/x86_64/regs.h"

/* The kernel's own rt_sigframe; libc's ucontext_t has a longer signal set. */
struct context {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate_va, reserved[8];
};
struct frame {
	uint64_t return_va;
	uint64_t uc_flags, uc_link;
	struct {
		uint64_t sp_va;
		uint32_t flags, pad;
		uint64_t len;
	} stack;
	struct context c;
	uint64_t sigmask;
	siginfo_t info;
};
_Static_assert(sizeof(struct context) == 256, "struct sigcontext of the kernel");
_Static_assert(offsetof(struct frame, sigmask) == 8 + 40 + 256, "struct rt_sigframe of the kernel");
_Static_assert(offsetof(struct _fpstate, __glibc_reserved1) == 416, "the software bytes end the legacy block");

/* uc_flags: there is an extended area, ss is meant, and meant even if it looks odd. */
enum { UC_FP_XSTATE = 1, UC_SIGCONTEXT_SS = 2, UC_STRICT_RESTORE_SS = 4 };
enum { SW_BYTES_OFF = 464, NO_SUCH_STACK_MODE = 0x7f00 };

static struct frame *frame_new(struct prog_space *s, uint64_t *ret_va)
{
	struct frame *f = prog_alloc(s, sizeof(*f), ret_va);

	f->uc_flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	return f;
}

/* An extended area of its own (cache-line aligned, as all data in a space), sealed with both magics. */
static uint8_t *area_new(struct prog_space *s, const struct xsave_layout *l, uint64_t in_use, uint64_t *ret_va)
{
	uint64_t features = l->features & (~XSAVE_ON_DEMAND | in_use);
	uint32_t len = (uint32_t)xsave_len(l, features), magic2 = FP_XSTATE_MAGIC2;
	struct _fpx_sw_bytes sw = {
		.magic1 = FP_XSTATE_MAGIC1,
		.extended_size = len + (uint32_t)sizeof(magic2),
		.xstate_bv = features,
		.xstate_size = len,
	};
	/* the kernel touches as much as its own area is long, which may be more */
	uint8_t *area = prog_alloc(s, xsave_len(l, l->features) + sizeof(magic2), ret_va);

	memcpy(area + SW_BYTES_OFF, &sw, sizeof(sw));
	memcpy(area + len, &magic2, sizeof(magic2));
	return area;
}

static void set_context(struct context *c, const UserX86RegsEntry *e)
{
#define SET(reg) c->reg = e->reg;
#define REGS(X) \
	X(r8) X(r9) X(r10) X(r11) X(r12) X(r13) X(r14) X(r15) \
	X(di) X(si) X(bp) X(bx) X(dx) X(ax) X(cx) X(sp) X(ip) X(flags)
	REGS(SET)
#undef REGS
#undef SET
	c->cs = (uint16_t)e->cs;
	c->ss = (uint16_t)e->ss;
}

static uint64_t sigmask_of(const CoreEntry *core)
{
	if (core->tc)
		return core->tc->blk_sigset;
	return core->thread_core && core->thread_core->has_blk_sigset ? core->thread_core->blk_sigset : 0;
}

uint64_t sigframe_build(struct prog_space *s, const struct xsave_layout *l, const CoreEntry *core)
{
	const ThreadSasEntry *sas = core->thread_core ? core->thread_core->sas : NULL;
	uint64_t va;
	struct frame *f = frame_new(s, &va);

	set_context(&f->c, core->thread_info->gpregs);
	xsave_fill(l, core, area_new(s, l, xsave_features(core), &f->c.fpstate_va));
	f->sigmask = sigmask_of(core);
	f->stack.flags = SS_DISABLE;
	if (sas) {
		f->stack.sp_va = sas->ss_sp;
		f->stack.len = sas->ss_size;
		/* "on it" is not a state one can set: it follows from sp */
		f->stack.flags = sas->ss_flags & ~(uint32_t)SS_ONSTACK;
	}
	return va;
}

uint64_t sigframe_from_ptrace(struct prog_space *s, const struct xsave_layout *l, const struct user_regs_struct *regs,
			      const void *raw, size_t raw_len, uint64_t sigmask)
{
	CoreEntry core = CORE_ENTRY__INIT;
	uint64_t va, in_use = raw_len < XSAVE_MIN_LEN ? 0 : xsave_in_use(raw);
	size_t len = xsave_counting(l, raw, raw_len);
	struct frame *f = frame_new(s, &va);
	uint8_t *area;

	regs_dump(s->a, 0, regs, &core);
	set_context(&f->c, core.thread_info->gpregs);
	area = area_new(s, l, in_use, &f->c.fpstate_va);
	if (raw_len >= XSAVE_MIN_LEN) {
		memcpy(area, raw, SW_BYTES_OFF);
		memcpy(area + XSAVE_LEGACY_LEN, (const uint8_t *)raw + XSAVE_LEGACY_LEN,
		       len - XSAVE_LEGACY_LEN);
	}
	f->sigmask = sigmask;
	f->stack.flags = NO_SUCH_STACK_MODE; /* the kernel overlooks it and leaves the alternate stack alone */
	return va;
}
