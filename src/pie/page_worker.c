/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page workers: they fill a task's memory at its final addresses.
 *
 * A worker is a raw clone3(CLONE_VM) without CLONE_THREAD: it shares the
 * address space but is its own thread group with its own descriptors, so that
 * nothing of it (an ID, a descriptor, a ring's helper thread) can stay in the
 * restored task. Workers take chunks from one counter, so a single huge mapping
 * spreads over all of them; with no workers the leader runs the same loop. All
 * are reaped before any thread of the task is made, so their IDs never clash.
 *
 * How many there are is a matter of the whole tree (budget.h). A leader takes its share
 * and, as long as there are chunks left, one more for every one that is given back
 * elsewhere. What nobody has taken it leaves for a moment to those who are not born yet.
 */
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "pie/page_worker.h"

/* What is free is left for so long to those who come; how often to look whether the restore goes on. */
enum { GRACE_NS = 1000 * 1000, CHECK_NS = 20 * 1000 * 1000 };

static long now_ns(void)
{
	int64_t t[2];

	sys2(__NR_clock_gettime, 1, t);
	return t[0] * 1000000000 + t[1];
}

static void fill_loop(struct page_worker *w)
{
	const struct pie_chunk *chunks = (const struct pie_chunk *)w->f->chunks_va;
	struct pie_span *span = (struct pie_span *)w->f->spans_va + w->number;

	span->tid = sys0(__NR_gettid);
	span->from_ns = (uint64_t)now_ns();
	page_read_begin(w);
	for (;;) {
		uint32_t i = __atomic_fetch_add(&w->f->next, 1, __ATOMIC_RELAXED);

		if (i >= w->f->nchunks || __atomic_load_n(&w->c->board->failed, __ATOMIC_RELAXED))
			break;
		page_read_chunk(w, &chunks[i]);
		span->bytes += chunks[i].len;
	}
	page_read_end(w);
	span->to_ns = (uint64_t)now_ns();
}

static void give_back(struct page_worker *w, uint32_t n)
{
	struct pie_budget *b = &w->c->board->budget;

	if (budget_give(b, n))
		futex_wake_all(&b->bell);
}

static void worker_main(void *arg)
{
	struct page_worker *leader = arg, w = { .c = leader->c, .rec = leader->rec, .f = leader->f };

	w.number = __atomic_fetch_add(&leader->number, 1, __ATOMIC_RELAXED);
	fill_loop(&w);
	give_back(&w, 1);
	for (;;)
		sys1(__NR_exit, 0);
}

/* A worker's ID comes from a list of numbers that no image needs; one that is taken is passed over. */
static long spawn(struct page_worker *w, uint32_t k)
{
	struct pie_budget *b = &w->c->board->budget;
	const int32_t *ids = (const int32_t *)b->ids_va;
	uint64_t low = w->f->stacks_va + k * PIE_STACK;
	long r = -17;

	for (uint32_t tries = 0; r == -17 /* EEXIST */ && tries < b->nids; tries++) {
		int32_t tid = ids[__atomic_fetch_add(&b->next_id, 1, __ATOMIC_RELAXED) % b->nids];
		struct clone_args args = {
			.flags = CLONE_VM,
			.stack = low,
			.stack_size = PIE_STACK,
			.set_tid = (uint64_t)&tid,
			.set_tid_size = 1,
		};

		r = pie_clone(&args, sizeof(args), low + PIE_STACK, worker_main, w);
	}
	return r;
}

/* One worker's end; with WNOHANG 0 if none has ended. A worker that was killed ends the restore. */
static uint32_t reap(struct page_worker *w, uint64_t flags)
{
	int status = 0;
	long r;

	do
		r = sys4(__NR_wait4, -1, &status, __WCLONE | flags, 0);
	while (r == -4);
	if (r < 0 || (r && status))
		pie_fail(w->c, w->rec, 130 /* EOWNERDEAD */, ~0ul, (uint64_t)status);
	return r > 0;
}

static bool work_left(const struct page_worker *w)
{
	return __atomic_load_n(&w->f->next, __ATOMIC_RELAXED) < w->f->nchunks;
}

/* Starts as many workers as the budget has of those that are wanted. Returns how many; -errno when none can be made. */
static long employ(struct page_worker *w, uint32_t first, uint32_t want)
{
	uint32_t got = budget_take(&w->c->board->budget, want), n = 0;
	long r = 0;

	while (n < got && (r = spawn(w, first + n)) >= 0)
		n++;
	if (n < got)
		give_back(w, got - n);
	return n || r >= 0 ? (long)n : r;
}

/* Until the last chunk is taken: its share of the budget first, then all that is free. Returns how many it started. */
static uint32_t supervise(struct page_worker *w)
{
	struct pie_budget *b = &w->c->board->budget;
	uint32_t most = w->f->nworkers, want = w->f->share, started = 0, reaped = 0;
	long wait_ns = GRACE_NS, n = 0;

	while (n >= 0 && started < most && work_left(w)) {
		uint32_t heard = __atomic_load_n(&b->bell, __ATOMIC_SEQ_CST);

		__atomic_add_fetch(&b->hungry, 1, __ATOMIC_SEQ_CST);
		n = employ(w, started, want);
		started += n > 0 ? (uint32_t)n : 0;
		if (n >= 0 && started < most && work_left(w))
			futex_wait(&b->bell, heard, wait_ns);
		__atomic_sub_fetch(&b->hungry, 1, __ATOMIC_SEQ_CST);
		while (reaped < started && reap(w, WNOHANG))
			reaped++;
		pie_leave_if_alone(w->c);
		want = most - started;
		wait_ns = CHECK_NS;
	}
	while (reaped < started)
		reaped += reap(w, 0);
	return started;
}

/* Whoever has no workers does it by itself: a small task, the serial path, and when not one can be had. */
static void fill_alone(struct page_worker *w)
{
	budget_count(&w->c->board->budget);
	fill_loop(w);
	give_back(w, 1);
}

long op_fill(struct pie_ctx *c, const struct prog_rec *rec, struct pie_fill *f)
{
	const struct prog_rec *staging = (const struct prog_rec *)rec->arg[1];
	struct page_worker w = { .c = c, .rec = rec, .f = f, .alone = true };

	c->board->task[c->task].fill_from_ns = (uint64_t)now_ns();
	f->staged = staging && (uint64_t)staging->ret == f->staging_va;
	f->uffd = page_place_watch(f);
	if (!supervise(&w))
		fill_alone(&w);
	if (f->uffd >= 0)
		sys1(__NR_close, f->uffd);
	c->board->task[c->task].fill_to_ns = (uint64_t)now_ns();
	return 0;
}
