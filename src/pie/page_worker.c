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
 * Huge pages. A chunk of whole 2 MiB ranges is read into the worker's staging
 * area, which asks for huge pages, and moved to where it belongs by UFFDIO_MOVE:
 * the pages go over by their page table entries, and the mapping itself is never
 * told about huge pages, so its flags stay as the image has them. For that the
 * ranges are registered with a userfaultfd, which the leader closes at the end.
 * Where the kernel has no UFFDIO_MOVE, chunks are read in place.
 */
#include <linux/falloc.h>
#include <linux/fcntl.h>
#include <linux/ioctl.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <linux/wait.h>

#include "pie/blob.h"

/* Debian 12's headers are older than the call. */
#ifndef UFFDIO_MOVE
struct uffdio_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

struct worker {
	uint32_t number;
	struct pie_ctx *c;
	const struct prog_rec *rec;
	struct pie_fill *f;
	int32_t fd[PIE_MAX_FILES]; /* 0: not open yet */
};

static int file_of(struct worker *w, uint32_t file, uint64_t off)
{
	const struct pie_file *names = (const struct pie_file *)w->f->files_va;
	long fd = -1;

	if (!w->fd[file]) {
		/* not to be able to punch is no reason not to restore */
		if (w->f->punch)
			fd = sys4(__NR_openat, w->f->dirfd, names[file].name, O_RDWR | O_CLOEXEC, 0);
		if (fd < 0)
			fd = sys4(__NR_openat, w->f->dirfd, names[file].name, O_RDONLY | O_CLOEXEC, 0);
		if (fd < 0)
			pie_fail(w->c, w->rec, (int)-fd, file, off);
		w->fd[file] = (int32_t)fd;
	}
	return w->fd[file];
}

/* Reads the rest of a chunk that came short: one piece after the other, from byte `done` on. */
static void fill_rest(struct worker *w, const struct pie_chunk *k, int fd, uint64_t done)
{
	const struct pie_iov *v = (const struct pie_iov *)k->iovs_va;
	uint64_t at = 0; /* where in the chunk the piece begins */

	for (uint32_t i = 0; i < k->niovs; at += v[i++].len) {
		while (done < at + v[i].len) {
			long n = sys4(__NR_pread64, fd, v[i].va + (done - at), at + v[i].len - done, k->off + done);

			if (n == -4 /* EINTR */ || n == -11 /* EAGAIN */)
				continue;
			if (n <= 0) /* 61: ENODATA, the file is too short */
				pie_fail(w->c, w->rec, n ? (int)-n : 61, k->file, k->off + done);
			done += (uint64_t)n;
		}
	}
}

static void fill_in_place(struct worker *w, const struct pie_chunk *k, int fd)
{
	long n = sys4(__NR_preadv, fd, k->iovs_va, k->niovs, k->off);

	if (n != (long)k->len)
		fill_rest(w, k, fd, n > 0 ? (uint64_t)n : 0);
}

/* To its place by its page table entries; what the kernel will not move (EBUSY, EINVAL) is copied. */
static void place(struct worker *w, uint64_t to_va, uint64_t from_va, uint64_t len)
{
	while (len) {
		struct uffdio_move m = { .dst = to_va, .src = from_va, .len = len };
		long r = sys3(__NR_ioctl, w->f->uffd, UFFDIO_MOVE, &m);
		uint64_t done = r ? (m.move > 0 ? (uint64_t)m.move : 0) : len;

		if (r && r != -11 /* EAGAIN: part of it, or somebody held a lock */) {
			struct uffdio_copy c = { .dst = to_va, .src = from_va, .len = len };

			r = sys3(__NR_ioctl, w->f->uffd, UFFDIO_COPY, &c);
			if (r && r != -11)
				pie_fail(w->c, w->rec, (int)-r, 0, to_va);
			done = r ? (c.copy > 0 ? (uint64_t)c.copy : 0) : len;
		}
		to_va += done;
		from_va += done;
		len -= done;
	}
}

static void fill_huge(struct worker *w, const struct pie_chunk *k, int fd)
{
	uint64_t staging_va = w->f->staging_va + (uint64_t)w->number * PIE_STAGING;
	struct pie_iov v = { staging_va, k->len };
	struct pie_chunk staged = *k;

	staged.iovs_va = (uint64_t)&v;
	fill_in_place(w, &staged, fd);
	place(w, ((const struct pie_iov *)k->iovs_va)->va, staging_va, k->len);
}

static void fill_chunk(struct worker *w, const struct pie_chunk *k)
{
	int fd = file_of(w, k->file, k->off);

	if (k->huge && w->f->uffd >= 0)
		fill_huge(w, k, fd);
	else
		fill_in_place(w, k, fd);
	if (w->f->punch &&
	    sys4(__NR_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, k->off, k->len) < 0)
		__atomic_add_fetch(&w->c->board->unpunched, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&w->c->board->bytes, k->len, __ATOMIC_RELAXED);
}

static void fill_loop(struct worker *w)
{
	const struct pie_chunk *chunks = (const struct pie_chunk *)w->f->chunks_va;

	for (;;) {
		uint32_t i = __atomic_fetch_add(&w->f->next, 1, __ATOMIC_RELAXED);

		if (i >= w->f->nchunks || __atomic_load_n(&w->c->board->failed, __ATOMIC_RELAXED))
			break;
		fill_chunk(w, &chunks[i]);
	}
	for (uint32_t i = 0; i < w->f->nfiles; i++)
		if (w->fd[i])
			sys1(__NR_close, w->fd[i]);
}

static void worker_main(void *arg)
{
	struct worker *shared = arg, w = *shared; /* the leader's copy is shared by all */

	w.number = __atomic_fetch_add(&shared->number, 1, __ATOMIC_RELAXED);
	fill_loop(&w);
	for (;;)
		sys1(__NR_exit, 0);
}

/* A worker's ID comes from a list of numbers that no image needs; one that is taken meanwhile is passed over. */
static long spawn(struct worker *w, uint32_t k, uint32_t *tid_at)
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

/*
 * Watching a part of a mapping cuts it in pieces, which the kernel joins again at
 * the end only if they have one reverse map (anon_vma) in common. A mapping gets
 * its reverse map with its first page: so one is made before the cut, and thrown away.
 */
static void root_mapping(const struct pie_iov *v)
{
	if (!sys3(__NR_madvise, v->va, 4096, 23 /* MADV_POPULATE_WRITE */))
		sys3(__NR_madvise, v->va, v->len, 4 /* MADV_DONTNEED */);
}

/* A userfaultfd that watches all huge ranges, or -1: nothing is lost but speed. staging: the record of its mapping. */
static int watch_ranges(const struct pie_fill *f, const struct prog_rec *staging)
{
	const struct pie_iov *v = (const struct pie_iov *)f->ranges_va;
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	long fd = staging && (uint64_t)staging->ret == f->staging_va ? sys1(__NR_userfaultfd, O_CLOEXEC) : -1;

	if (fd < 0)
		return -1;
	if (sys3(__NR_ioctl, fd, UFFDIO_API, &api))
		goto without;
	for (uint32_t i = 0; i < f->nranges; i++) {
		struct uffdio_register r = { .range = { v[i].va, v[i].len }, .mode = UFFDIO_REGISTER_MODE_MISSING };

		root_mapping(&v[i]);
		if (sys3(__NR_ioctl, fd, UFFDIO_REGISTER, &r))
			goto without;
	}
	return (int)fd;
without:
	sys1(__NR_close, fd);
	return -1;
}

static long now_ns(void)
{
	int64_t t[2];

	sys2(__NR_clock_gettime, 1, t);
	return t[0] * 1000000000 + t[1];
}

long op_fill(struct pie_ctx *c, const struct prog_rec *rec, struct pie_fill *f)
{
	struct worker w = { .c = c, .rec = rec, .f = f };
	uint32_t started = 0, tid_at = 0;
	long r = 0;

	for (uint32_t i = 0; i < PIE_MAX_FILES; i++)
		w.fd[i] = 0;
	c->board->task[c->task].fill_from_ns = (uint64_t)now_ns();
	f->uffd = watch_ranges(f, (const struct prog_rec *)rec->arg[1]);
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
