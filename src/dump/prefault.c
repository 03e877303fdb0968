/* SPDX-License-Identifier: Apache-2.0 */
/* Populating the driver's buffers by threads of the target (prefault.h). Runs in the engine, the tracer. */
#include "dump/prefault.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/trace.h"
#include "kern/ptrace.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* A mapping is worth it from LEAST on; a call populates SLICE; so much memory is left to others. */
static const uint64_t LEAST = 32 << 20, SLICE = 64 << 20, SPARE = UINT64_C(1) << 30, PATIENCE_NS = 10000000000u;

static uint64_t vsize_of(int proc_fd)
{
	auto_free char *text = NULL;
	unsigned long pages = 0;

	if (io_slurp(proc_fd, "statm", &text) < 0 || sscanf(text, "%lu", &pages) != 1)
		return 0;
	return (uint64_t)pages * 4096;
}

static bool is_buffer(const struct map *m)
{
	return !m->shared && !m->name[0] && m->prot == (PROT_READ | PROT_WRITE) && m->end_va - m->start_va >= LEAST;
}

/* --- borrowed threads ----------------------------------------------------------------------------- */

static int borrow(struct prefault *p, pid_t tid, const struct map *vdso)
{
	struct borrowed *b = &p->thread[p->n];
	int err;

	*b = (struct borrowed){ .tid = tid };
	err = ptrace_get_regs(tid, &b->home);
	if (err >= 0)
		err = ptrace_get_sigmask(tid, &b->mask);
	if (err >= 0)
		err = ledge_put(p->task->proc_fd, vdso->start_va, vdso->end_va - vdso->start_va, &b->home, b->mask,
				&b->ledge);
	if (err < 0 || b->ledge.mem_fd < 0)
		return err < 0 ? err : err_say(ENOSPC, "no more room in its vdso");
	p->n++;
	return 0;
}

void prefault_begin(struct prefault *p, const struct seize_task *t, pid_t but, struct arena *a)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	const struct map *vdso = NULL;

	*p = (struct prefault){ .task = t, .a = a };
	if (maps_read(t->proc_fd, MAPS_PLAIN, a, &p->maps, &p->nmaps) < 0)
		return;
	p->vsize_len = vsize_of(t->proc_fd);
	for (size_t i = 0; i < p->nmaps; i++)
		if (!strcmp(p->maps[i].name, "[vdso]"))
			vdso = &p->maps[i];
	for (size_t i = 0; vdso && i < t->n_tids && p->n < PREFAULT_THREADS && (long)p->n < cpus; i++)
		if (t->tids[i] != but && borrow(p, t->tids[i], vdso) < 0)
			break;
	log_debug("task %d: %zu threads to populate the driver's buffers", t->pid, p->n);
}

static int call(struct borrowed *b, uint64_t va, uint64_t len, uint64_t advice)
{
	const uint64_t args[6] = { va, len, advice };
	int err = ptrace_call_begin(b->tid, &b->home, b->ledge.call_va, SYS_madvise, args,
				    trace_now_ns() + PATIENCE_NS);

	b->busy = true;
	b->lost = err < 0;
	return err;
}

/* True when it is ready for another call. */
static bool is_ready(struct borrowed *b)
{
	struct ptrace_stop stop = { .kind = PTRACE_STOP_NONE };

	if (b->lost)
		return false;
	if (b->busy) {
		b->lost = ptrace_poll_stop(b->tid, &stop) < 0 || stop.kind == PTRACE_STOP_DIED;
		b->busy = stop.kind == PTRACE_STOP_NONE;
	}
	return !b->busy && !b->lost;
}

/* --- new mappings --------------------------------------------------------------------------------- */

static bool was_there(const struct prefault *p, const struct map *m)
{
	for (size_t i = 0; i < p->nmaps; i++)
		if (p->maps[i].start_va < m->end_va && p->maps[i].end_va > m->start_va && is_buffer(&p->maps[i]))
			return true;
	return false;
}

static void look_for_new(struct prefault *p)
{
	uint64_t now = vsize_of(p->task->proc_fd);
	struct map *maps;
	size_t n;

	if (now < p->vsize_len + LEAST || maps_read(p->task->proc_fd, MAPS_PLAIN, p->a, &maps, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (is_buffer(&maps[i]) && !was_there(p, &maps[i]) && p->nranges < ARRAY_LEN(p->range)) {
			log_debug("task %d: the driver's buffer %lx-%lx", p->task->pid, maps[i].start_va, maps[i].end_va);
			p->range[p->nranges++] = (struct prefault_range){ maps[i].start_va, maps[i].end_va, false };
		}
	p->vsize_len = now;
	p->maps = maps;
	p->nmaps = n;
}

/* Would it take memory that is not there? Then only the advice is given. */
static bool fits(uint64_t len)
{
	auto_free char *text = NULL;
	unsigned long long kb = 0;
	const char *at = io_slurp(AT_FDCWD, "/proc/meminfo", &text) < 0 ? NULL : strstr(text, "MemAvailable:");

	return at && sscanf(at, "MemAvailable: %llu", &kb) == 1 && kb * 1024 > len + SPARE;
}

/* The next call for a thread, if there is any. */
static bool give_work(struct prefault *p, struct borrowed *b)
{
	for (size_t i = 0; i < p->nranges; i++) {
		struct prefault_range *r = &p->range[i];
		uint64_t len = r->end_va - r->start_va, at = r->start_va;

		if (!len)
			continue;
		if (!r->advised) {
			r->advised = true;
			if (!fits(len))
				r->start_va = r->end_va;
			return call(b, at, len, MADV_HUGEPAGE) >= 0;
		}
		len = len < SLICE ? len : SLICE;
		r->start_va += len;
		p->populated_len += len;
		return call(b, at, len, MADV_POPULATE_WRITE) >= 0;
	}
	return false;
}

void prefault_tend(struct prefault *p)
{
	look_for_new(p);
	for (size_t i = 0; p->nranges && i < p->n; i++)
		if (is_ready(&p->thread[i]) && !give_work(p, &p->thread[i]))
			break;
}

/* --- the end -------------------------------------------------------------------------------------- */

static int give_back(struct borrowed *b)
{
	struct ptrace_stop stop = { .kind = PTRACE_STOP_NONE };
	int err = b->busy ? ptrace_wait_stop(b->tid, trace_now_ns() + PATIENCE_NS, &stop) : 0;

	if (err >= 0 && stop.kind == PTRACE_STOP_DIED)
		err = err_say(ESRCH, "thread %d was killed", b->tid);
	if (err >= 0)
		err = ptrace_set_sigmask(b->tid, b->mask);
	if (err >= 0)
		err = ptrace_set_regs(b->tid, &b->home);
	if (err >= 0)
		ledge_take(&b->ledge);
	return err;
}

void prefault_end(struct prefault *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (give_back(&p->thread[i]) < 0) /* it finds home by its ledge, once we are gone */
			log_warn("task %d: %s", p->task->pid, err_text());
	if (p->populated_len)
		log_info("task %d: populated %lu MiB of the driver's buffers with %zu threads", p->task->pid,
			 (unsigned long)(p->populated_len >> 20), p->n);
	p->n = 0;
	p->populated_len = 0;
}
