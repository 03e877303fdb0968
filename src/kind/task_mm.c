/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel remembers of an address space besides its mappings: where code,
 * data, heap, stack, arguments and environment are, the auxiliary vector, and
 * which file is the program (/proc/PID/exe).
 *
 * PR_SET_MM_MAP sets all of that at once, without CAP_SYS_RESOURCE. The kernel
 * refuses another exe while the old one is still mapped, and checks the heap
 * against RLIMIT_DATA: so it stands behind memory and before limits.
 *
 * Dumpable is set by task_creds.c, since every change of credentials resets it.
 *
 * Runs in the engine. Order in the table: before limits and credentials.
 */
#include <inttypes.h>
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "kind/kind.h"

enum { MAX_AUXV = 256 };

struct asked {
	const struct prog_rec *brk, *dumpable, *no_thp;
};

static void *mm_ask(struct dumping *d, struct dump_task *t, struct prog *p)
{
	struct asked *q = arena_alloc(d->a, sizeof(*q));

	(void)t;
	prog_label(p, "ask for the end of the heap");
	q->brk = prog_sys(p, SYS_brk, 0);
	prog_label(p, "ask whether it is dumpable");
	q->dumpable = prog_sys(p, SYS_prctl, PR_GET_DUMPABLE);
	prog_label(p, "ask whether huge pages are disabled");
	q->no_thp = prog_sys(p, SYS_prctl, PR_GET_THP_DISABLE);
	return q;
}

static void dump_areas(const struct proc_stat *s, MmEntry *e)
{
	e->mm_start_code = s->start_code_va;
	e->mm_end_code = s->end_code_va;
	e->mm_start_data = s->start_data_va;
	e->mm_end_data = s->end_data_va;
	e->mm_start_stack = s->start_stack_va;
	e->mm_start_brk = s->start_brk_va;
	e->mm_arg_start = s->arg_start_va;
	e->mm_arg_end = s->arg_end_va;
	e->mm_env_start = s->env_start_va;
	e->mm_env_end = s->env_end_va;
}

/* The vector as an image has it: without the pair of zeros that ends it. */
static int dump_auxv(struct dumping *d, struct dump_task *t, MmEntry *e)
{
	int r = proc_auxv(t->proc_fd, d->a, &e->mm_saved_auxv, &e->n_mm_saved_auxv);

	if (r < 0)
		return r;
	while (e->n_mm_saved_auxv >= 2 && !e->mm_saved_auxv[e->n_mm_saved_auxv - 2])
		e->n_mm_saved_auxv -= 2;
	return 0;
}

static int mm_dump(struct dumping *d, struct dump_task *t, const void *asked)
{
	const struct asked *q = asked;
	MmEntry *e;
	int r;

	if (!t->t->mm)
		t->t->mm = arena_msg(d->a, mm_entry, MmEntry);
	e = t->t->mm;
	dump_areas(&t->stat, e);
	e->mm_brk = (uint64_t)q->brk->ret;
	e->has_dumpable = e->has_thp_disabled = true;
	e->dumpable = (int32_t)q->dumpable->ret;
	e->thp_disabled = q->no_thp->ret != 0;
	r = dump_auxv(d, t, e);
	if (r < 0)
		return r;
	return err_ctx(dumping_link(d, t->pid, "exe", &e->exe_file_id), "its program");
}

static int mm_check(struct restoring *r, const struct snap_task *t)
{
	(void)r;
	if (!t->mm)
		return err_say(EINVAL, "the image has no address space for it");
	if (t->mm->n_mm_saved_auxv > MAX_AUXV)
		return err_say(EINVAL, "its auxiliary vector has %zu words", t->mm->n_mm_saved_auxv);
	return 0;
}

static void emit_map(const MmEntry *e, int exe_fd, struct prog *p)
{
	size_t auxv_len = e->n_mm_saved_auxv * sizeof(*e->mm_saved_auxv);
	uint64_t auxv_va = auxv_len ? prog_data(p->space, e->mm_saved_auxv, auxv_len) : 0;
	const struct prctl_mm_map map = {
		.start_code = e->mm_start_code,
		.end_code = e->mm_end_code,
		.start_data = e->mm_start_data,
		.end_data = e->mm_end_data,
		.start_brk = e->mm_start_brk,
		.brk = e->mm_brk,
		.start_stack = e->mm_start_stack,
		.arg_start = e->mm_arg_start,
		.arg_end = e->mm_arg_end,
		.env_start = e->mm_env_start,
		.env_end = e->mm_env_end,
		.auxv = (__u64 *)auxv_va, // NOLINT(performance-no-int-to-ptr)
		.auxv_size = (uint32_t)auxv_len,
		.exe_fd = (uint32_t)exe_fd,
	};

	prog_label(p, "set the areas of the address space and the program file");
	prog_sys(p, SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, prog_data(p->space, &map, sizeof(map)), sizeof(map), 0);
}

static int mm_emit(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	int exe_fd = restoring_fd(r, t->mm->exe_file_id);

	if (exe_fd < 0)
		return err_ctx(exe_fd, "its program");
	emit_map(t->mm, exe_fd, p);
	if (r->own.no_thp != (t->mm->has_thp_disabled && t->mm->thp_disabled)) {
		prog_label(p, "%s huge pages", r->own.no_thp ? "enable" : "disable");
		prog_sys(p, SYS_prctl, PR_SET_THP_DISABLE, !r->own.no_thp);
	}
	return 0;
}

const struct kind_task kind_task_mm = {
	.name = "address space",
	.ask = mm_ask,
	.dump = mm_dump,
	.check = mm_check,
	.emit = mm_emit,
};
