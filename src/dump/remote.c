/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob's way into the target and out of it.
 *
 * Each task gets one shared mapping (made by a remote mmap in its leader) that
 * the engine maps too, through /proc/PID/map_files. The blob, the questions and the
 * answers (questions.c) lie in it.
 *
 * What must stay true: whatever happens to the engine, the target lives. Should it
 * die while the blob runs, the threads return by the signal frames prepared for
 * that, which hold their registers and masks. So a thread gets the blob's registers before
 * all its signals are blocked, and its own mask before its own registers: at no
 * moment would it run its program with a mask of ours. Blocked signals stay pending, nothing is lost.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "dump/dt.h"
#include "kern/pidfd.h"
#include "prog/blob_syms.h"

/* Only what is used of it exists: a signal frame and a stack for each thread, the leader's questions (timers). */
enum { PER_THREAD = 32 * 1024, PER_TASK = 1024 * 1024 };
/* Questions need little of it. Its used end and what follows lie in one page: of a thousand threads as many fewer. */
enum { STACK = PIE_STACK - 2048 };

static const uint64_t PATIENCE_NS = 10000000000u;

static bool stands(pid_t tid)
{
	siginfo_t info;

	return !ptrace(PTRACE_GETSIGINFO, tid, 0, &info) || errno != ESRCH;
}

/* One system call by the stopped leader, outside the blob: on its ledge (ledge.h). */
static int remote_syscall(struct dtask *k, long nr, const uint64_t a[6], int64_t *ret)
{
	struct dthread *th = &k->threads[0];
	struct user_regs_struct after = { 0 };
	int err;

	th->in_blob = true;
	err = ptrace_call(k->t->pid, &th->regs, k->ledge.call_va, nr, a, trace_now_ns() + PATIENCE_NS, &after);
	th->running = err < 0 && !stands(k->t->pid);
	*ret = (int64_t)after.rax;
	return err_ctx(err, "remote system call");
}

/* A ledge for the leader, which is to go home to where it is now. */
static int put_ledge(struct dtask *k, enum ledge_undo undo, struct ledge *ret)
{
	const struct ledge_way way = { .home = &k->threads[0].regs, .mask = k->t->threads[0].sigmask, .undo = undo,
				       .len = k->blob_len };
	const struct map *vdso = maps_named(k->t->maps, k->t->nmaps, "[vdso]");

	if (!vdso)
		return err_say(ENOTSUP, "it has no vdso");
	return ledge_put(k->t->proc_fd, vdso->start_va, vdso->end_va - vdso->start_va, &way, ret);
}

static int map_here(struct dtask *k)
{
	char path[96];
	auto_close int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, k->t->pid, k->blob_va,
		 k->blob_va + k->blob_len);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(errno, "open %s", path);
	k->map = mmap(NULL, k->blob_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (k->map == MAP_FAILED) {
		k->map = NULL;
		return err_set(errno, "map the blob");
	}
	return 0;
}

/* One call on a ledge of its own, where what it gives is undone should we be killed. */
static int open_remotely(struct dtask *k, long nr, const uint64_t a[6], enum ledge_undo undo, struct ledge *own,
			 int64_t *ret)
{
	struct ledge usual = k->ledge;
	int err = put_ledge(k, undo, own);

	if (err < 0)
		return err;
	k->ledge = *own;
	err = remote_syscall(k, nr, a, ret);
	k->ledge = usual;
	return err;
}

/* For a moment the descriptor is in the task's own table: a userfaultfd belongs to the memory of whoever makes it. */
int remote_userfaultfd(struct dtask *k)
{
	const uint64_t flags[6] = { O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY };
	struct ledge opening = { .mem_fd = -1 };
	int64_t tfd = -1, ret = 0;
	auto_close int fd = -1;
	int err = k->ledge.call_va ? 0 : put_ledge(k, LEDGE_KEEP, &k->ledge), err2;

	if (err >= 0)
		err = open_remotely(k, SYS_userfaultfd, flags, LEDGE_CLOSE, &opening, &tfd);
	if (err < 0)
		return err;
	fd = err = tfd < 0 ? err_set((int)-tfd, "userfaultfd()") : pidfd_fetch(k->t->pidfd, (int)tfd);
	/* off that ledge in any case */
	err2 = remote_syscall(k, SYS_close, (uint64_t[6]){ (uint64_t)tfd }, &ret);
	if (err2 >= 0)
		ledge_take(&opening);
	return err < 0 ? err : err2 < 0 ? err2 : take_fd(&fd);
}

int remote_enter(struct dtask *k, struct arena *a)
{
	size_t blob_len = (size_t)(pie_blob_end - pie_blob);
	int64_t va;
	int err = put_ledge(k, LEDGE_KEEP, &k->ledge);

	if (err < 0)
		return err;
	k->blob_len = (PER_TASK + k->t->nthreads * PER_THREAD + 4095) & ~UINT64_C(4095);
	err = open_remotely(k, SYS_mmap,
			    (uint64_t[6]){ 0, k->blob_len, PROT_READ | PROT_WRITE | PROT_EXEC,
					   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, (uint64_t)-1, 0 },
			    LEDGE_UNMAP, &k->mapping, &va);
	if (err < 0)
		return err;
	if (va < 0)
		return err_set((int)-va, "map the blob");
	k->blob_va = (uint64_t)va;
	err = map_here(k);
	if (err >= 0)
		err = prog_space_init(&k->space, a, k->map, k->blob_va, k->blob_len);
	if (err < 0)
		return err;
	blob_copy(prog_alloc(&k->space, blob_len, NULL), k->blob_len);
	k->board = prog_alloc(&k->space, sizeof(*k->board) + sizeof(struct pie_task), NULL);
	k->board->engine_pid = getpid();
	k->board->dump = 1;
	k->board->expected = (uint32_t)k->t->nthreads;
	return 0;
}

/* The leader's lies right behind the blob. */
void remote_room(struct dthread *th, struct arena *a)
{
	const struct prog_space *all = &th->task->space;
	size_t i = (size_t)(th - th->task->threads);

	if (i)
		th->space = prog_space_part(all, a, PER_TASK + i * PER_THREAD, PER_THREAD);
	else
		th->space = prog_space_part(all, a, all->used, PER_TASK + PER_THREAD - all->used);
	prog_alloc(&th->space, STACK, &th->stack_va);
}

static struct pie_head *head_of(const struct dtask *k)
{
	return k->map;
}

int remote_start(struct dthread *th)
{
	const struct dtask *k = th->task;
	struct user_regs_struct regs = th->regs;
	int err = prog_space_full(&th->space);

	if (err < 0)
		return err;
	regs.rip = k->blob_va;
	regs.rdi = prog_va(&k->space, k->board);
	regs.rsi = 0;
	regs.rdx = th->prog.start_va;
	regs.rcx = th->stack_va + STACK;
	regs.rax = 0;
	regs.orig_rax = (uint64_t)-1;
	regs.eflags &= ~UINT64_C(0x400); /* the direction flag: C code wants it clear */
	__atomic_add_fetch(&head_of(k)->sent, 1, __ATOMIC_ACQ_REL);
	th->sent = th->in_blob = true;
	err = ptrace_set_regs(th->th->tid, &regs);
	if (err >= 0)
		err = ptrace_set_sigmask(th->th->tid, ~UINT64_C(0));
	if (err >= 0)
		err = ptrace_cont(th->th->tid, 0);
	th->running = err >= 0;
	if (th->running && th == k->threads)
		ledge_take(&th->task->mapping);
	return err;
}

static int put_back(struct dthread *th)
{
	pid_t tid = th->th->tid;
	struct ptrace_stop stop = { .kind = PTRACE_STOP_NONE };
	int err = th->running ? ptrace_wait_stop(tid, trace_now_ns() + PATIENCE_NS, &stop) : 0;

	if (stop.kind == PTRACE_STOP_DIED)
		err = err_say(ESRCH, "thread %d was killed", tid);
	if (err < 0)
		return err;
	th->running = false;
	err = ptrace_set_sigmask(tid, th->th->sigmask);
	if (err >= 0)
		err = ptrace_set_regs(tid, &th->regs);
	th->in_blob = err < 0;
	if (th->sent && !th->in_blob)
		__atomic_add_fetch(&head_of(th->task)->gone, 1, __ATOMIC_ACQ_REL);
	th->sent = th->sent && th->in_blob;
	return err;
}

static int poke(struct dump *d, struct dthread *th, struct arena *a)
{
	(void)d, (void)a;
	if (th->running)
		(void)!ptrace_interrupt(th->th->tid);
	return 0;
}

/* One that fails must not keep the others where they are. */
static int try_back(struct dump *d, struct dthread *th, struct arena *a)
{
	(void)d;
	th->lost = th->in_blob ? put_back(th) : 0;
	if (th->lost < 0)
		th->why = arena_strdup(a, err_text());
	return 0;
}

int remote_put_back(struct dump *d)
{
	int err = hands_threads(d, poke);

	if (err >= 0)
		err = hands_threads(d, try_back);
	for (size_t i = 0; err >= 0 && i < d->hands.n_threads; i++) {
		const struct dthread *th = d->hands.thread[i];

		if (th->lost < 0)
			err = err_ctx(err_adopt(-th->lost, th->why), "task %d (%s)", th->task->t->pid,
				      th->task->t->stat.comm);
	}
	return err;
}

static int unmap(struct dtask *k, uint64_t va, uint64_t len)
{
	struct dthread *leader = &k->threads[0];
	int64_t ret = 0;
	int err = remote_syscall(k, SYS_munmap, (uint64_t[6]){ va, len }, &ret), err2;

	if (err >= 0 && ret < 0)
		err = err_set((int)-ret, "unmap the blob");
	if (leader->running)
		(void)!ptrace_interrupt(k->t->pid);
	err2 = put_back(leader);
	return err < 0 ? err : err2;
}

static int unmap_blob(struct dtask *k)
{
	int err = unmap(k, k->blob_va, k->blob_len);

	if (err >= 0)
		k->blob_va = 0;
	return err;
}

int remote_unmap(struct dtask *k, uint64_t va, uint64_t len)
{
	int err = put_ledge(k, LEDGE_KEEP, &k->ledge);

	if (err < 0)
		return err;
	err = unmap(k, va, len);
	if (!k->threads[0].in_blob)
		ledge_take(&k->ledge);
	k->ledge = (struct ledge){ .mem_fd = -1 };
	return err;
}

/* A thread that does not come back needs the blob: it goes home by its frame, once the engine is gone. */
static bool is_home(const struct dtask *k)
{
	for (size_t i = 0; i < k->t->nthreads; i++)
		if (k->threads[i].in_blob)
			return false;
	return true;
}

static int leave(struct dump *d, struct dtask *k, struct arena *a)
{
	int err = k->ledge.call_va && is_home(k) && k->blob_va ? unmap_blob(k) : 0;

	(void)d, (void)a;
	if (err < 0)
		log_warn("task %d (%s): %s", k->t->pid, k->t->stat.comm, err_text());
	if (k->ledge.call_va && !k->threads[0].in_blob) {
		ledge_take(&k->mapping);
		ledge_take(&k->ledge);
	}
	return 0;
}

static int unmap_here(void *ctx, size_t i, struct arena *a)
{
	struct dtask *k = &((struct dump *)ctx)->tasks[i];

	(void)a;
	if (k->map) {
		munmap(k->map, k->blob_len);
		prog_space_done(&k->space);
	}
	k->map = NULL;
	return 0;
}

/* Of a thousand threads it is so many pages that both sides are rid of them at the same time. */
void remote_leave(struct dump *d)
{
	struct crew *crew;

	if (!d->hands.n_tasks || !d->seized) /* a pre-dump has let the tree go before it copies */
		return;
	if (remote_put_back(d) < 0)
		log_warn("%s", err_text());
	crew = crew_start_large(d->kinds.a, d->hands.n_tasks, d->hands.n_threads, unmap_here, d);
	(void)!hands_tasks(d, leave);
	(void)!crew_finish(crew);
}
