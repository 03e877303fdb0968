/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking the target from inside: the blob runs in its threads.
 *
 * Each task gets one shared mapping (made by a remote mmap in its leader) that
 * the engine maps too, through /proc/PID/map_files. The blob, the questions of
 * all kinds as programs, and the answers lie in it. All threads of all tasks run
 * at the same time; each parks when done and is put back to its own registers.
 *
 * What must stay true: whatever happens to the engine, the target lives. A thread's
 * registers are changed in one step each way. Should the engine die while the
 * blob runs, the threads return by the signal frames prepared for that. All
 * signals are blocked meanwhile (they stay pending, nothing is lost).
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "arch/x86_64/sigframe.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "dump/dt.h"
#include "prog/blob_syms.h"

enum { PER_THREAD = 24 * 1024, PER_TASK = 128 * 1024 };

static const uint64_t PATIENCE_NS = 10000000000u;

static int in_task(int err, const struct dtask *k)
{
	return err_ctx(err, "task %d (%s)", k->t->pid, k->t->stat.comm);
}

/* The kernel's vdso always holds a system call instruction: the slow path of clock_gettime. */
static int find_syscall(struct dtask *k)
{
	uint8_t code[16384];

	for (size_t i = 0; i < k->t->nmaps; i++) {
		const struct map *m = &k->t->maps[i];
		size_t len = m->end_va - m->start_va;
		struct iovec to = { code, len < sizeof(code) ? len : sizeof(code) };
		struct iovec from = { (void *)m->start_va, to.iov_len };
		const uint8_t *at;

		if (strcmp(m->name, "[vdso]"))
			continue;
		if (process_vm_readv(k->t->pid, &to, 1, &from, 1, 0) < 0)
			return err_set(errno, "read its vdso");
		at = memmem(code, to.iov_len, "\x0f\x05", 2);
		if (at)
			k->syscall_va = m->start_va + (uint64_t)(at - code);
	}
	return k->syscall_va ? 0 : err_say(ENOTSUP, "it has no vdso with a system call instruction");
}

/* One system call by the stopped leader, outside the blob. Its registers are put back by the caller. */
static int remote_syscall(struct dtask *k, long nr, const uint64_t a[6], int64_t *ret)
{
	struct user_regs_struct regs = k->threads[0].regs;
	pid_t pid = k->t->pid;
	struct ptrace_stop stop;
	int err;

	regs.rip = k->syscall_va;
	regs.rax = (uint64_t)nr;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = a[0];
	regs.rsi = a[1];
	regs.rdx = a[2];
	regs.r10 = a[3];
	regs.r8 = a[4];
	regs.r9 = a[5];
	k->threads[0].in_blob = true;
	err = ptrace_set_regs(pid, &regs);
	do { /* a stop that was on its way may come first */
		if (err >= 0 && ptrace(PTRACE_SINGLESTEP, pid, 0, 0) < 0)
			err = err_set(errno, "single-step");
		if (err >= 0)
			err = ptrace_wait(pid, trace_now_ns() + PATIENCE_NS, &stop);
	} while (err >= 0 && (stop.kind == PTRACE_STOP_EVENT || stop.kind == PTRACE_STOP_GROUP));
	if (err >= 0 && (stop.kind != PTRACE_STOP_SIGNAL || stop.sig != SIGTRAP))
		err = err_say(EIO, "remote system call: stopped in an unexpected way (kind %d, signal %d)", stop.kind, stop.sig);
	if (err >= 0)
		err = ptrace_get_regs(pid, &regs);
	*ret = (int64_t)regs.rax;
	return err;
}

static int block_signals(struct dtask *k)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < k->t->nthreads; i++)
		err = ptrace_set_sigmask(k->t->threads[i].tid, ~UINT64_C(0));
	return err;
}

static int map_blob(struct dump *d, struct dtask *k)
{
	uint64_t len = (PER_TASK + k->t->nthreads * PER_THREAD + 4095) & ~UINT64_C(4095);
	char path[96];
	auto_close int fd = -1;
	int64_t va;
	int err;

	err = remote_syscall(k, SYS_mmap,
			     (uint64_t[6]){ 0, len, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS,
					    (uint64_t)-1, 0 },
			     &va);
	if (err < 0)
		return err;
	if (va < 0)
		return err_set((int)-va, "map the blob");
	k->blob_va = (uint64_t)va;
	k->blob_len = len;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, k->t->pid, k->blob_va, k->blob_va + len);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(errno, "open %s", path);
	k->map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (k->map == MAP_FAILED) {
		k->map = NULL;
		return err_set(errno, "map the blob");
	}
	err = prog_space_init(&k->space, d->kinds.a, k->map, k->blob_va, len);
	if (err < 0)
		return err;
	memcpy(prog_alloc(&k->space, (size_t)(pie_blob_end - pie_blob), NULL), pie_blob, (size_t)(pie_blob_end - pie_blob));
	k->board = prog_alloc(&k->space, sizeof(*k->board) + sizeof(struct pie_task), NULL);
	k->board->engine_pid = getpid();
	k->board->dump = 1;
	return 0;
}

static size_t count_kinds(void)
{
	size_t n = 0;

	while (kind_tasks[n])
		n++;
	return n;
}

static void assemble(struct dump *d, struct dtask *k)
{
	size_t kinds = count_kinds();

	k->asked = arena_alloc(d->kinds.a, (kinds + 1) * sizeof(void *));
	for (size_t i = 0; i < k->t->nthreads; i++) {
		struct dthread *th = &k->threads[i];

		th->prog = prog_begin(&k->space);
		th->asked = arena_alloc(d->kinds.a, (kinds + 1) * sizeof(void *));
		for (size_t j = 0; j < kinds; j++) {
			prog_label(&th->prog, "%s", kind_tasks[j]->name);
			if (!i && kind_tasks[j]->ask)
				k->asked[j] = kind_tasks[j]->ask(&d->kinds, k->t, &th->prog);
			if (kind_tasks[j]->ask_thread)
				th->asked[j] = kind_tasks[j]->ask_thread(&d->kinds, th->th, &th->prog);
		}
		th->frame_va = sigframe_from_ptrace(&k->space, &d->xsave, &th->regs, th->xsave, th->xsave_len,
						    th->th->sigmask);
		prog_do(&th->prog, OP_PARK, th->frame_va);
	}
}

static int check_answers(const struct dtask *k)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < k->t->nthreads; i++)
		err = err_ctx(prog_results(&k->space, k->threads[i].prog.start_va), "thread %d", k->t->threads[i].tid);
	return err;
}

static int start_threads(struct dtask *k)
{
	uint64_t board_va = prog_va(&k->space, k->board);

	for (size_t i = 0; i < k->t->nthreads; i++) {
		struct dthread *th = &k->threads[i];
		struct user_regs_struct regs = th->regs;
		uint64_t stack_va;
		int err;

		prog_alloc(&k->space, PIE_STACK, &stack_va);
		err = prog_space_full(&k->space);
		if (err < 0)
			return err;
		regs.rip = k->blob_va;
		regs.rdi = board_va;
		regs.rsi = 0;
		regs.rdx = th->prog.start_va;
		regs.rcx = stack_va + PIE_STACK;
		regs.rax = 0;
		regs.orig_rax = (uint64_t)-1;
		regs.eflags &= ~UINT64_C(0x400); /* the direction flag: C code wants it clear */
		th->in_blob = true;
		err = ptrace_set_regs(th->th->tid, &regs);
		if (err >= 0)
			err = ptrace_cont(th->th->tid, 0);
		th->running = err >= 0;
		if (err < 0)
			return err;
	}
	return 0;
}

/* Sends on what stopped once more on its way (ptrace_interrupt() says why that may be). */
static int keep_going(const struct dtask *k)
{
	for (size_t i = 0; i < k->t->nthreads; i++) {
		pid_t tid = k->t->threads[i].tid;
		struct ptrace_stop stop;
		int err = ptrace_poll(tid, &stop);

		if (err >= 0 && (stop.kind == PTRACE_STOP_EVENT || stop.kind == PTRACE_STOP_GROUP))
			err = ptrace_cont(tid, 0);
		else if (err >= 0 && stop.kind != PTRACE_STOP_NONE)
			err = err_say(ESRCH, "thread %d was killed while it was asked", tid);
		if (err < 0)
			return err;
	}
	return 0;
}

static int wait_parked(const struct dtask *k)
{
	uint64_t deadline = trace_now_ns() + PATIENCE_NS;

	while (__atomic_load_n(&k->board->arrived, __ATOMIC_ACQUIRE) < k->t->nthreads) {
		uint32_t heard = __atomic_load_n(&k->board->bell, __ATOMIC_ACQUIRE);
		struct timespec t = { .tv_nsec = 2 * 1000 * 1000 };
		int err = 0;

		if (__atomic_load_n(&k->board->arrived, __ATOMIC_ACQUIRE) >= k->t->nthreads)
			break;
		if (trace_now_ns() > deadline)
			return err_say(ETIMEDOUT, "its threads did not answer (%u of %zu did)", k->board->arrived, k->t->nthreads);
		if (syscall(SYS_futex, &k->board->bell, FUTEX_WAIT, heard, &t, NULL, 0) < 0 && errno == ETIMEDOUT)
			err = keep_going(k);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Every thread stands with its own registers and its own mask again. */
static int put_back(struct dtask *k)
{
	struct ptrace_stop stop;
	int err = 0, first = 0;

	for (size_t i = 0; i < k->t->nthreads; i++)
		if (k->threads[i].running)
			(void)!ptrace_interrupt(k->threads[i].th->tid);
	for (size_t i = 0; i < k->t->nthreads; i++) {
		struct dthread *th = &k->threads[i];

		if (!th->in_blob)
			continue;
		err = th->running ? ptrace_wait_stop(th->th->tid, trace_now_ns() + PATIENCE_NS, &stop) : 0;
		if (err >= 0)
			err = ptrace_set_regs(th->th->tid, &th->regs);
		th->in_blob = th->running = err < 0;
		first = first < 0 ? first : err;
	}
	return first;
}

static int unmap_blob(struct dtask *k)
{
	int64_t ret = 0;
	int err;

	if (k->map)
		munmap(k->map, k->blob_len);
	k->map = NULL;
	if (!k->blob_va)
		return 0;
	err = remote_syscall(k, SYS_munmap, (uint64_t[6]){ k->blob_va, k->blob_len }, &ret);
	if (err >= 0 && ret < 0)
		err = err_set((int)-ret, "unmap the blob");
	k->blob_va = 0;
	return err;
}

static int leave(struct dtask *k)
{
	int err = put_back(k), err2;

	err2 = k->blob_va ? unmap_blob(k) : 0;
	err = err < 0 ? err : err2;
	err2 = put_back(k);
	err = err < 0 ? err : err2;
	for (size_t i = 0; i < k->t->nthreads; i++)
		(void)!ptrace_set_sigmask(k->t->threads[i].tid, k->t->threads[i].sigmask);
	return err;
}

int remote_ask(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++) {
		struct dtask *k = &d->tasks[i];

		err = find_syscall(k);
		if (err >= 0)
			err = block_signals(k);
		if (err >= 0)
			err = map_blob(d, k);
		if (err >= 0) {
			assemble(d, k);
			err = start_threads(k);
		}
		err = in_task(err, k);
	}
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = in_task(wait_parked(&d->tasks[i]), &d->tasks[i]);
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = in_task(put_back(&d->tasks[i]), &d->tasks[i]);
	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = in_task(check_answers(&d->tasks[i]), &d->tasks[i]);
	return err;
}

void remote_leave(struct dump *d)
{
	for (size_t i = 0; d->tasks && i < d->kinds.ntasks; i++)
		if (d->tasks[i].syscall_va && in_task(leave(&d->tasks[i]), &d->tasks[i]) < 0)
			log_warn("%s", err_text());
}
