/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling shared memory objects (shmem_fill.h). Runs in the engine, when the
 * root task exists: the engine never forks after it has threads.
 *
 * Pages go straight into the object's mapping: from the page cache by pread, one copy, or past it, no copy, and
 * then several pieces at once. Work is cut at PIECE bytes of the file and taken from one counter.
 */
#include "page/shmem_fill.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "page/deep_read.h"

enum { PIECE = 2 << 20, MAX_THREADS = 64 };

/* How long what is free is left to those who come; how often to look whether the restore goes on. */
enum { GRACE_NS = 1000 * 1000, CHECK_NS = 20 * 1000 * 1000 };

struct piece {
	const struct shmem_job *job;
	const struct page_source *file;
	uint64_t at, off, len; /* in the object, in the file, bytes */
};

struct fill {
	struct piece *pieces;
	size_t n;
	_Atomic size_t next;
	_Atomic unsigned begun; /* threads, the caller included */
	_Atomic int err;
	const struct shmem_fill_opts *opts;
	_Atomic uint64_t *done;
	pthread_mutex_t lock; /* guards why */
	char why[512];
};

static void fail(struct fill *f, int err)
{
	pthread_mutex_lock(&f->lock);
	if (!atomic_load(&f->err)) {
		snprintf(f->why, sizeof(f->why), "%s", err_text());
		atomic_store(&f->err, err);
	}
	pthread_mutex_unlock(&f->lock);
}

static void piece_done(const struct deep_job *j, int err)
{
	struct fill *f = j->ctx;
	const struct piece *k = j->what;

	munmap(j->to, j->len);
	if (err < 0) {
		fail(f, err);
		return;
	}
	if (f->opts->punch &&
	    fallocate(k->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)k->off, (off_t)k->len) < 0)
		__atomic_add_fetch(f->opts->unpunched, 1, __ATOMIC_RELAXED);
	atomic_fetch_add(f->done, k->len);
}

static void fill_piece(struct fill *f, struct deep_read *reads, struct piece *k)
{
	struct deep_job j = { .from = k->file, .len = k->len, .off = k->off, .done = piece_done, .ctx = f, .what = k };

	j.to = mmap(NULL, k->len, PROT_READ | PROT_WRITE, MAP_SHARED, k->job->fd, (off_t)k->at);
	if (j.to == MAP_FAILED) {
		fail(f, err_set(errno, "map shared memory object %lu", k->job->obj->shmid));
		return;
	}
	j.direct = page_source_direct(k->file, k->off, k->len);
	deep_read_start(reads, &j);
}

/* The caller knows why it is told to stop. */
static bool work_left(struct fill *f)
{
	return atomic_load(&f->next) < f->n && !atomic_load(&f->err) && !*f->opts->stop &&
	       !__atomic_load_n(f->opts->failed, __ATOMIC_RELAXED);
}

static void give_back(struct fill *f)
{
	if (budget_give(f->opts->budget, 1))
		syscall(SYS_futex, &f->opts->budget->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* Waits for a place in the budget. False: there is nothing left to do. */
static bool wait_for_turn(struct fill *f)
{
	bool late = atomic_fetch_add(&f->begun, 1) >= f->opts->share, got = false;
	struct timespec t = { .tv_nsec = late ? GRACE_NS : CHECK_NS };
	struct pie_budget *b = f->opts->budget;

	__atomic_add_fetch(&b->hungry, 1, __ATOMIC_SEQ_CST);
	while (!got && work_left(f)) {
		uint32_t heard = __atomic_load_n(&b->bell, __ATOMIC_SEQ_CST);

		got = !late && budget_take(b, 1);
		if (!got && work_left(f))
			syscall(SYS_futex, &b->bell, FUTEX_WAIT, heard, &t, NULL, 0);
		late = false;
		t.tv_nsec = CHECK_NS;
	}
	__atomic_sub_fetch(&b->hungry, 1, __ATOMIC_SEQ_CST);
	return got;
}

static void fill_pieces(struct fill *f)
{
	uint64_t from = trace_now_ns(), bytes = 0;
	struct deep_read *reads = f->opts->rings ? deep_read_new() : NULL;

	while (work_left(f)) {
		size_t i = atomic_fetch_add(&f->next, 1);

		if (i >= f->n)
			break;
		bytes += f->pieces[i].len;
		fill_piece(f, reads, &f->pieces[i]);
	}
	deep_read_end(reads);
	trace_worker("fill shared memory", from, bytes);
}

static void *fill_thread(void *arg)
{
	struct fill *f = arg;

	/* this number is wanted by a task that is being made right now: leave it, the others do the work */
	if ((f->opts->needed && f->opts->needed(f->opts->ctx, gettid())) || !wait_for_turn(f))
		return NULL;
	fill_pieces(f);
	give_back(f);
	return NULL;
}

/* files: of the object's sources. out NULL: only counts. */
static size_t cut(const struct shmem_job *job, const struct page_source *files, struct piece *out)
{
	const struct snap_pages *p = &job->obj->pages;
	size_t n = 0;

	for (size_t i = 0; i < p->nextents; i++) {
		const struct snap_extent *e = &p->extents[i];
		uint64_t len;

		for (uint64_t done = 0; done < e->len; done += len, n++) {
			len = e->len - done < PIECE ? e->len - done : PIECE;
			if (out)
				out[n] = (struct piece){ job, &files[e->source], e->va + done, e->off + done, len };
		}
	}
	return n;
}

static int run(struct fill *f)
{
	pthread_t th[MAX_THREADS];
	unsigned started = 0;

	/* one that had to go, or could not be made: fewer hands, the same work */
	for (; started + 1 < f->opts->nthreads && started < MAX_THREADS; started++)
		if (pthread_create(&th[started], NULL, fill_thread, f))
			break;
	budget_count(f->opts->budget);
	fill_pieces(f);
	give_back(f);
	while (started)
		pthread_join(th[--started], NULL);
	return atomic_load(&f->err) ? err_adopt(-atomic_load(&f->err), f->why) : 0;
}

static int cut_and_run(struct fill *f, const struct shmem_job *jobs, size_t njobs, const struct page_source *files)
{
	size_t total = 0, at = 0;
	int err;

	for (size_t i = 0; i < njobs; i++)
		total += cut(&jobs[i], NULL, NULL);
	if (!total)
		return 0;
	f->pieces = calloc(total, sizeof(*f->pieces));
	if (!f->pieces)
		return err_set(ENOMEM, "fill shared memory");
	for (size_t i = 0; i < njobs; at += jobs[i++].obj->pages.nsources)
		f->n += cut(&jobs[i], files + at, f->pieces + f->n);
	err = run(f);
	free(f->pieces);
	return err;
}

int shmem_fill(const struct imgdir *dir, const struct shmem_job *jobs, size_t njobs,
	       const struct shmem_fill_opts *o, _Atomic uint64_t *done)
{
	struct fill f = { .begun = 1, .opts = o, .done = done, .lock = PTHREAD_MUTEX_INITIALIZER };
	auto_free struct page_source *files = NULL; /* every source of the first job, then of the second, ... */
	size_t most = 1, n = 0;
	int err;

	for (size_t i = 0; i < njobs; i++)
		most += jobs[i].obj->pages.nsources;
	files = calloc(most, sizeof(*files));
	err = files ? 0 : err_set(ENOMEM, "fill shared memory");
	for (size_t i = 0; i < njobs; i++)
		for (size_t k = 0; err >= 0 && k < jobs[i].obj->pages.nsources; k++) {
			const struct snap_source *s = &jobs[i].obj->pages.sources[k];

			err = page_source_open(imgdir_at(dir, s->depth)->dirfd, s->pages_id, o->io, o->punch,
					       &files[n]);
			n += err >= 0;
		}
	if (err >= 0)
		err = cut_and_run(&f, jobs, njobs, files);
	while (n)
		page_source_close(&files[--n]);
	return err;
}
