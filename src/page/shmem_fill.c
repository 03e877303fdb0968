/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling shared memory objects (shmem_fill.h). Runs in the engine, when the
 * root task exists: the engine never forks after it has threads.
 *
 * Pages go from the page cache straight into the object's mapping by pread, one
 * copy. Work is cut at CHUNK_LEN of the file and taken from one counter.
 */
#include "page/shmem_fill.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/trace.h"

enum { PIECE = 2 << 20, MAX_THREADS = 64 };

struct piece {
	const struct shmem_job *job;
	int file;          /* the pages file */
	uint32_t pages_id;
	uint64_t at, off, len; /* in the object, in the file, bytes */
};

struct fill {
	struct piece *pieces;
	size_t n;
	_Atomic size_t next;
	_Atomic int err;
	const struct shmem_fill_opts *opts;
	_Atomic uint64_t *done;
	pthread_mutex_t lock; /* guards why */
	char why[512];
};

static int fill_piece(struct fill *f, const struct piece *k)
{
	void *to = mmap(NULL, k->len, PROT_READ | PROT_WRITE, MAP_SHARED, k->job->fd, (off_t)k->at);
	ssize_t n;

	if (to == MAP_FAILED)
		return err_set(errno, "map shared memory object %lu", k->job->obj->shmid);
	n = io_pread(k->file, to, k->len, k->off);
	munmap(to, k->len);
	if (n < 0)
		return err_set((int)-n, "pages-%u.img: read at offset %lu", k->pages_id, k->off);
	if ((uint64_t)n < k->len)
		return err_say(ENODATA, "pages-%u.img: the file ends before offset %lu, where pages should be", k->pages_id,
			       k->off + (uint64_t)n);
	if (f->opts->punch &&
	    fallocate(k->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)k->off, (off_t)k->len) < 0)
		__atomic_add_fetch(f->opts->unpunched, 1, __ATOMIC_RELAXED);
	atomic_fetch_add(f->done, k->len);
	return 0;
}

static void *fill_thread(void *arg)
{
	uint64_t from = trace_now_ns(), bytes = 0;
	struct fill *f = arg;

	/* this number is wanted by a task that is being made right now: leave it, the others do the work */
	if (gettid() != getpid() && f->opts->needed && f->opts->needed(f->opts->ctx, gettid()))
		return f;
	for (;;) {
		size_t i = atomic_fetch_add(&f->next, 1);
		int err;

		/* the caller knows why it is told to stop */
		if (i >= f->n || atomic_load(&f->err) || *f->opts->stop ||
		    __atomic_load_n(f->opts->failed, __ATOMIC_RELAXED))
			break;
		bytes += f->pieces[i].len;
		err = fill_piece(f, &f->pieces[i]);
		if (err < 0) {
			pthread_mutex_lock(&f->lock);
			if (!atomic_load(&f->err)) {
				snprintf(f->why, sizeof(f->why), "%s", err_text());
				atomic_store(&f->err, err);
			}
			pthread_mutex_unlock(&f->lock);
		}
	}
	trace_worker("fill shared memory", from, bytes);
	return NULL;
}

/* files: of the object's sources. out NULL: only counts. */
static size_t cut(const struct shmem_job *job, const int *files, struct piece *out)
{
	const struct snap_pages *p = &job->obj->pages;
	size_t n = 0;

	for (size_t i = 0; i < p->nextents; i++) {
		const struct snap_extent *e = &p->extents[i];
		uint64_t len;

		for (uint64_t done = 0; done < e->len; done += len, n++) {
			len = e->len - done < PIECE ? e->len - done : PIECE;
			if (out)
				out[n] = (struct piece){ job, files[e->source], p->sources[e->source].pages_id,
							 e->va + done, e->off + done, len };
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
	fill_thread(f);
	while (started)
		pthread_join(th[--started], NULL);
	return atomic_load(&f->err) ? err_adopt(-atomic_load(&f->err), f->why) : 0;
}

static int open_pages(const struct imgdir *dir, const struct snap_source *s, bool punch)
{
	int dirfd = imgdir_at(dir, s->depth)->dirfd, fd = -1;
	char name[IMG_NAME_LEN];

	img_name(name, IMG_PAGES, s->pages_id);
	/* not to be able to punch is no reason not to restore */
	if (punch)
		fd = openat(dirfd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_set(errno, "open %s", name) : fd;
}

static int cut_and_run(struct fill *f, const struct shmem_job *jobs, size_t njobs, const int *files)
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
	struct fill f = { .opts = o, .done = done, .lock = PTHREAD_MUTEX_INITIALIZER };
	auto_free int *files = NULL; /* every source of the first job, then of the second, ... */
	size_t most = 1, n = 0;
	int err;

	for (size_t i = 0; i < njobs; i++)
		most += jobs[i].obj->pages.nsources;
	files = calloc(most, sizeof(int));
	err = files ? 0 : err_set(ENOMEM, "fill shared memory");
	for (size_t i = 0; i < njobs; i++)
		for (size_t k = 0; err >= 0 && k < jobs[i].obj->pages.nsources; k++) {
			err = open_pages(dir, &jobs[i].obj->pages.sources[k], o->punch);
			if (err >= 0)
				files[n++] = err;
		}
	if (err >= 0)
		err = cut_and_run(&f, jobs, njobs, files);
	while (n)
		close_fd(&files[--n]);
	return err;
}
