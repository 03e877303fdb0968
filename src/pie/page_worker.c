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
 */
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "pie/page_worker.h"

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

static void worker_main(void *arg)
{
	struct page_worker *leader = arg, w = { .c = leader->c, .rec = leader->rec, .f = leader->f };

	w.number = __atomic_fetch_add(&leader->number, 1, __ATOMIC_RELAXED);
	fill_loop(&w);
	for (;;)
		sys1(__NR_exit, 0);
}

/* A worker's ID comes from a list of numbers that no image needs; one that is taken meanwhile is passed over. */
static long spawn(struct page_worker *w, uint32_t k, uint32_t *tid_at)
{
	const int32_t *tids = (const int32_t *)w->f->tids_va;
	uint64_t low = w->f->stacks_va + k * PIE_STACK;
	long r = -17;

	while (r == -17 /* EEXIST */ && *tid_at < w->f->ntids) {
		int32_t tid = tids[(*tid_at)++];
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

long op_fill(struct pie_ctx *c, const struct prog_rec *rec, struct pie_fill *f)
{
	const struct prog_rec *staging = (const struct prog_rec *)rec->arg[1];
	struct page_worker w = { .c = c, .rec = rec, .f = f, .alone = true };
	uint32_t started = 0, tid_at = 0;
	long r = 0;

	c->board->task[c->task].fill_from_ns = (uint64_t)now_ns();
	f->staged = staging && (uint64_t)staging->ret == f->staging_va;
	f->uffd = page_place_watch(f);
	for (; started < f->nworkers && r >= 0; started += r > 0)
		r = spawn(&w, started, &tid_at);
	if (!started)
		fill_loop(&w); /* the serial path; also when not one worker can be had */
	for (uint32_t i = 0; i < started; i++) {
		int status = 0;

		do
			r = sys4(__NR_wait4, -1, &status, __WCLONE, 0);
		while (r == -4);
		if (r < 0 || status)
			pie_fail(c, rec, 130 /* EOWNERDEAD: a worker was killed */, ~0ul, (uint64_t)status);
	}
	if (f->uffd >= 0)
		sys1(__NR_close, f->uffd);
	c->board->task[c->task].fill_to_ns = (uint64_t)now_ns();
	return 0;
}
