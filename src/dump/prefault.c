/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's buffer is populated with huge pages (prefault.h). Runs in the engine, the tracer of all threads.
 *
 * What is touched from outside by a write of a zero is memory that nobody has seen yet: the one thread that runs stands
 * right behind its mmap(). If the engine dies meanwhile, that thread goes on with a mapping that is populated
 * as it is used, and the leader finds home from its ledge.
 */
#include "dump/prefault.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "arch/x86_64/ledge.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/trace.h"
#include "kern/feature.h"
#include "kern/ptrace.h"

enum { THREADS = 16, PAGES = 32 };

/* From this length on it is the buffer; a huge page; what is left to others; its mmap() comes at once. */
static const uint64_t LEAST = 32 << 20, HUGE = 2 << 20, SPARE = UINT64_C(1) << 30, WATCH_NS = 2000000000u;

static const uint64_t PATIENCE_NS = 10000000000u;

/* --- the buffer, from outside ----------------------------------------------------------------------- */

struct touching {
	pid_t pid;
	uint64_t end_va;
	_Atomic uint64_t next_va;
};

static void *touch(void *arg)
{
	struct touching *t = arg;
	struct iovec theirs[PAGES];
	char zeros[PAGES] = { 0 };
	uint64_t at;

	while ((at = atomic_fetch_add(&t->next_va, PAGES * HUGE)) < t->end_va) {
		struct iovec ours = { zeros, 0 };

		for (; ours.iov_len < PAGES && at < t->end_va; at += HUGE)
			theirs[ours.iov_len++] = (struct iovec){ (void *)at, 1 };
		if (process_vm_writev(t->pid, &ours, 1, theirs, ours.iov_len, 0) < 0)
			break; /* no memory, say: the driver will find out */
	}
	return NULL;
}

static void touch_all(const struct prefault *p)
{
	struct touching t = { .pid = p->task->pid, .end_va = p->start_va + p->len };
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[THREADS];
	size_t n = 0;

	t.next_va = (p->start_va + HUGE - 1) & ~(HUGE - 1);
	while (n < THREADS && (long)n < cpus && !pthread_create(&threads[n], NULL, touch, &t))
		n++;
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* --- the advice, from inside ------------------------------------------------------------------------ */

static int find_vdso(int proc_fd, uint64_t *ret_va, uint64_t *ret_len)
{
	auto_free char *text = NULL;
	const char *at;
	unsigned long start, end;

	if (io_slurp(proc_fd, "maps", &text) < 0 || !(at = strstr(text, "[vdso]")))
		return err_say(ENOTSUP, "it has no vdso");
	while (at > text && at[-1] != '\n')
		at--;
	if (sscanf(at, "%lx-%lx", &start, &end) != 2)
		return err_say(EINVAL, "its mappings cannot be read");
	*ret_va = start;
	*ret_len = end - start;
	return 0;
}

/* By the leader, which stands: the lock is free now. */
static int advise(const struct prefault *p)
{
	const uint64_t args[6] = { p->start_va, p->len, MADV_HUGEPAGE };
	struct user_regs_struct home = { 0 }, after = { 0 };
	uint64_t vdso_va = 0, vdso_len = 0;
	pid_t tid = p->task->tids[0];
	struct ledge_way way = { .home = &home };
	struct ledge ledge;
	int err = find_vdso(p->task->proc_fd, &vdso_va, &vdso_len), err2;

	if (err >= 0)
		err = ptrace_get_regs(tid, &home);
	if (err >= 0)
		err = ptrace_get_sigmask(tid, &way.mask);
	if (err >= 0)
		err = ledge_put(p->task->proc_fd, vdso_va, vdso_len, &way, &ledge);
	if (err < 0)
		return err;
	err = ptrace_call(tid, &home, ledge.call_va, SYS_madvise, args, trace_now_ns() + PATIENCE_NS, &after);
	if (err >= 0 && after.rax)
		err = err_set((int)-after.rax, "advise huge pages");
	err2 = ptrace_set_sigmask(tid, way.mask);
	if (err2 >= 0)
		err2 = ptrace_set_regs(tid, &home);
	if (err2 >= 0)
		ledge_take(&ledge);
	return err < 0 ? err : err2;
}

static void fill(struct prefault *p)
{
	uint64_t from = trace_now_ns();

	if (advise(p) < 0) {
		log_warn("task %d: %s: the driver's buffer gets small pages", p->task->pid, err_text());
		return;
	}
	touch_all(p);
	trace_span("populate the driver's buffer", p->task->pid, p->task->pid, from, trace_now_ns(), p->len);
	log_info("task %d: populated %lu MiB of the driver's buffer with huge pages in %.1f ms", p->task->pid,
		 (unsigned long)(p->len >> 20), (double)(trace_now_ns() - from) / 1e6);
}

/* --- the driver's thread ---------------------------------------------------------------------------- */

static bool fits(uint64_t len)
{
	auto_free char *text = NULL;
	unsigned long long kb = 0;
	const char *at = io_slurp(AT_FDCWD, "/proc/meminfo", &text) < 0 ? NULL : strstr(text, "MemAvailable:");

	return at && sscanf(at, "MemAvailable: %llu", &kb) == 1 && kb * 1024 > len + SPARE;
}

bool prefault_begin(struct prefault *p, const struct seize_task *t, pid_t tid)
{
	*p = (struct prefault){ .task = t, .tid = tid, .until_ns = trace_now_ns() + WATCH_NS };
	p->watching = t->tids[0] != tid && feature_has(FEATURE_THP);
	return p->watching;
}

static int set_flags(pid_t tid, uint64_t flags)
{
	struct user_regs_struct regs;
	int err = ptrace_get_regs(tid, &regs);

	regs.r10 = flags;
	return err < 0 ? err : ptrace_set_regs(tid, &regs);
}

static int at_entry(struct prefault *p, const struct __ptrace_syscall_info *s)
{
	const uint64_t wanted = MAP_PRIVATE | MAP_ANONYMOUS;
	const uint64_t *a = (const uint64_t *)s->entry.args; /* addr, length, protection, flags */

	p->in_mmap = s->entry.nr == SYS_mmap && a[1] >= LEAST && a[2] == (PROT_READ | PROT_WRITE) &&
		     (a[3] & wanted) == wanted && fits(a[1]);
	if (!p->in_mmap)
		return 0;
	p->len = a[1];
	p->flags = a[3];
	return set_flags(p->tid, p->flags & ~(uint64_t)MAP_POPULATE);
}

static int at_exit(struct prefault *p, const struct __ptrace_syscall_info *s)
{
	int err = set_flags(p->tid, p->flags);

	p->in_mmap = p->watching = false;
	if (err < 0 || s->exit.is_error)
		return err;
	p->start_va = (uint64_t)s->exit.rval;
	fill(p);
	return 0;
}

int prefault_look(struct prefault *p)
{
	struct __ptrace_syscall_info s;
	int err = 0;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, p->tid, sizeof(s), &s) < 0)
		return err_set(errno, "look at a system call of thread %d", p->tid);
	if (s.op == PTRACE_SYSCALL_INFO_ENTRY)
		err = at_entry(p, &s);
	else if (s.op == PTRACE_SYSCALL_INFO_EXIT && p->in_mmap)
		err = at_exit(p, &s);
	if (trace_now_ns() > p->until_ns && !p->in_mmap)
		p->watching = false;
	if (err >= 0)
		err = p->watching ? ptrace_syscall(p->tid, 0) : ptrace_cont(p->tid, 0);
	return err;
}
