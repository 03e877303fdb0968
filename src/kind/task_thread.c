/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses a thread has told the kernel: its list of robust futexes, the word
 * to clear when it ends, its restartable-sequences area; and its name.
 *
 * libc registers the first three for every thread it makes, so this is most of what
 * the program of a thread consists of. A fresh thread has none of them.
 *
 * PTRACE_GET_RSEQ_CONFIGURATION (5.13, read when the thread was stopped) and
 * get_robust_list() look from outside; the word to clear is told to the thread itself only (PR_GET_TID_ADDRESS),
 * and its name quicker than to a reader of /proc.
 *
 * Runs in the engine; order in the table: first, since its check() says that the
 * blocks which all other task kinds read are there. The leader's name is set
 * before its threads start (emit), since they inherit it.
 */
#include <inttypes.h>
#include <linux/rseq.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/x86_64/regs.h"
#include "kind/kind.h"
#include "kind/task_entry.h"

enum { COMM_LEN = 16, ROBUST_LEN = 24 };

struct asked {
	uint64_t clear_va;
	char comm[COMM_LEN];
};

static void *thread_ask(struct dumping *d, struct dump_thread *th, struct prog *p)
{
	uint64_t va;
	struct asked *q = prog_alloc(p->space, sizeof(*q), &va);

	(void)d, (void)th;
	prog_label(p, "ask for the word to clear at thread exit");
	prog_sys(p, SYS_prctl, PR_GET_TID_ADDRESS, va + offsetof(struct asked, clear_va));
	prog_label(p, "ask for its name");
	prog_sys(p, SYS_prctl, PR_GET_NAME, va + offsetof(struct asked, comm));
	return q;
}

static void dump_name(struct dumping *d, struct dump_thread *th, const struct asked *q)
{
	char comm[COMM_LEN + 1] = "";

	memcpy(comm, q->comm, COMM_LEN);
	task_entry_thread(d->a, th->core)->comm = arena_strdup(d->a, comm);
	if (th == th->task->threads)
		task_entry_shared(d->a, th->core)->comm = arena_strdup(d->a, comm);
}

static void dump_rseq(struct dumping *d, struct dump_thread *th)
{
	RseqEntry *e;

	if (!th->rseq.abi_va)
		return;
	e = arena_msg(d->a, rseq_entry, RseqEntry);
	e->rseq_abi_pointer = th->rseq.abi_va;
	e->rseq_abi_size = th->rseq.len;
	e->signature = th->rseq.signature;
	task_entry_thread(d->a, th->core)->rseq_entry = e;
}

static int thread_dump(struct dumping *d, struct dump_thread *th, const void *asked)
{
	ThreadCoreEntry *e = task_entry_thread(d->a, th->core);
	const struct asked *q = asked;
	uint64_t head_va = 0, len = 0;

	regs_info(d->a, th->core)->clear_tid_addr = q->clear_va;
	if (syscall(SYS_get_robust_list, th->tid, &head_va, &len) < 0)
		return err_set(errno, "thread %d: get_robust_list()", th->tid);
	e->futex_rla = head_va;
	e->futex_rla_len = (uint32_t)len;
	dump_name(d, th, q);
	dump_rseq(d, th);
	return 0;
}

static int thread_check(struct restoring *r, const struct snap_task *t)
{
	(void)r;
	if (!t->ncores || !t->cores[0]->tc || !t->cores[0]->tc->comm)
		return err_say(EINVAL, "its image has no task part");
	for (size_t k = 0; k < t->ncores; k++) {
		const ThreadCoreEntry *e = t->cores[k]->thread_core;

		if (!t->cores[k]->thread_info)
			return err_say(ENOTSUP, "thread %u: its image is not of an x86-64 machine", t->pst->threads[k]);
		if (!e)
			return err_say(EINVAL, "the image of thread %u has no thread part", t->pst->threads[k]);
		if (e->futex_rla && e->futex_rla_len != ROBUST_LEN)
			return err_say(EINVAL, "thread %u: a robust list of %u bytes is none of this kernel",
				       t->pst->threads[k], e->futex_rla_len);
	}
	return 0;
}

static void emit_name(struct prog *p, const char *name)
{
	char comm[COMM_LEN] = "";

	memcpy(comm, name, strnlen(name, sizeof(comm) - 1));
	prog_label(p, "set the name \"%s\"", comm);
	prog_sys(p, SYS_prctl, PR_SET_NAME, prog_data(p->space, comm, sizeof(comm)));
}

static int thread_emit(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	(void)r;
	emit_name(p, t->cores[0]->tc->comm);
	return 0;
}

static int thread_emit_thread(struct restoring *r, const struct snap_task *t, size_t k, struct prog *p)
{
	const CoreEntry *core = t->cores[k];
	const ThreadCoreEntry *e = core->thread_core;
	const RseqEntry *q = e->rseq_entry;

	(void)r;
	if (e->comm && strcmp(e->comm, t->cores[0]->tc->comm))
		emit_name(p, e->comm);
	if (e->futex_rla) {
		prog_label(p, "set the robust list 0x%" PRIx64, e->futex_rla);
		prog_sys(p, SYS_set_robust_list, e->futex_rla, e->futex_rla_len);
	}
	if (core->thread_info->clear_tid_addr) {
		prog_label(p, "set the word to clear at thread exit");
		prog_sys(p, SYS_set_tid_address, core->thread_info->clear_tid_addr);
	}
	if (q && q->rseq_abi_pointer) {
		prog_label(p, "register the rseq area 0x%" PRIx64, q->rseq_abi_pointer);
		prog_sys(p, SYS_rseq, q->rseq_abi_pointer, q->rseq_abi_size, 0, q->signature);
	}
	return 0;
}

const struct kind_task kind_task_thread = {
	.name = "thread",
	.ask_thread = thread_ask,
	.dump_thread = thread_dump,
	.check = thread_check,
	.emit = thread_emit,
	.emit_thread = thread_emit_thread,
};
