/* SPDX-License-Identifier: Apache-2.0 */
/* Collecting memory (collect.h). Workers are threads of the engine; the target stands still. */
#include "page/collect.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "page/target_read.h"

enum { MAX_THREADS = 64, TICK_NS = 20 * 1000 * 1000, SECOND_NS = 1000 * 1000 * 1000 };

struct chunk {
	struct collect_object *obj;
	uint32_t number; /* within its object */
	size_t first, n; /* pieces; the first from `at` on, the last as far as len reaches */
	uint64_t at, len;
	uint64_t before; /* bytes of the object in front of it */
};

struct collect {
	struct chunk *chunks;
	size_t n, cap;
	uint64_t longest;
	unsigned workers;
	_Atomic size_t next;
	_Atomic int err;
	_Atomic uint64_t *done;
	const volatile int *stop;
	pthread_mutex_t lock; /* guards why */
	char why[512];
};

/* --- cutting ------------------------------------------------------------------------------------ */

static int add_chunk(struct collect *c, struct chunk k)
{
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 1024;
		struct chunk *more = realloc(c->chunks, cap * sizeof(*more));

		if (!more)
			return err_set(ENOMEM, "cut the memory of %s", k.obj->name);
		c->chunks = more;
		c->cap = cap;
	}
	c->chunks[c->n++] = k;
	c->longest = k.len > c->longest ? k.len : c->longest;
	return 0;
}

/* A chunk ends where a block of the file does: two that write into one block would wait for each other. */
static int cut_object(struct collect *c, struct collect_object *o)
{
	uint64_t at = o->npieces ? o->pieces[0].at : 0, before = 0;
	size_t i = 0;
	int err = 0;

	for (uint32_t number = 0; err >= 0 && i < o->npieces; number++) {
		struct chunk k = { .obj = o, .number = number, .first = i, .at = at, .before = before };
		uint64_t room = COLLECT_LEN - before % COLLECT_LEN;

		while (i < o->npieces && k.n < COLLECT_IOVS && k.len < room) {
			uint64_t left = o->pieces[i].at + o->pieces[i].len - at;
			uint64_t len = left < room - k.len ? left : room - k.len;

			k.len += len;
			k.n++;
			at += len;
			if (len == left && ++i < o->npieces)
				at = o->pieces[i].at;
		}
		before += k.len;
		err = add_chunk(c, k);
	}
	return err;
}

/* --- one chunk ---------------------------------------------------------------------------------- */

/* The ranges of a chunk, in order. */
static size_t ranges_of(const struct chunk *k, struct iovec v[COLLECT_IOVS])
{
	uint64_t at = k->at, left = k->len;

	for (size_t i = 0; i < k->n; i++) {
		const struct collect_piece *p = &k->obj->pieces[k->first + i];
		uint64_t len = p->at + p->len - at;

		v[i] = (struct iovec){ (void *)at, len < left ? len : left };
		left -= v[i].iov_len;
		at = i + 1 < k->n ? p[1].at : 0;
	}
	return k->n;
}

static bool by_mem(const struct chunk *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->obj->pieces[k->first + i].by_mem)
			return true;
	return false;
}

static bool is_zero(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)page;

	for (size_t i = 0; i < SNAP_PAGE / 8; i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

/* The stored part of a chunk: runs of the object and the pieces of the buffer that hold them. */
struct stored {
	struct collect_run run[COLLECT_LEN / SNAP_PAGE];
	struct iovec from[COLLECT_LEN / SNAP_PAGE];
	size_t n;
	uint64_t len;
	bool gone[COLLECT_LEN / SNAP_PAGE]; /* by number in the chunk: not there any more */
};

static void store(struct stored *s, uint64_t at, uint8_t *page)
{
	struct collect_run *last = s->n ? &s->run[s->n - 1] : NULL;

	s->len += SNAP_PAGE;
	if (last && last->at + last->len == at && (uint8_t *)s->from[s->n - 1].iov_base + last->len == page) {
		last->len += SNAP_PAGE;
		s->from[s->n - 1].iov_len += SNAP_PAGE;
		return;
	}
	s->run[s->n] = (struct collect_run){ at, SNAP_PAGE };
	s->from[s->n++] = (struct iovec){ page, SNAP_PAGE };
}

static void look(const struct chunk *k, const struct iovec *v, size_t n, uint8_t *buf, struct stored *s)
{
	const bool *gone = s->gone;

	s->n = 0;
	s->len = 0;
	for (size_t i = 0; i < n; i++) {
		bool keep = k->obj->pieces[k->first + i].keep_zero;

		for (uint64_t at = 0; at < v[i].iov_len; at += SNAP_PAGE, buf += SNAP_PAGE)
			if (!*gone++ && (keep || !is_zero(buf)))
				store(s, (uint64_t)v[i].iov_base + at, buf);
	}
}

static int append_runs(struct collect_object *o, const struct stored *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct collect_run *last = o->nruns ? &o->runs[o->nruns - 1] : NULL;

		if (last && last->at + last->len == s->run[i].at) {
			last->len += s->run[i].len;
			continue;
		}
		if (o->nruns == o->runs_cap) {
			size_t cap = o->runs_cap ? 2 * o->runs_cap : 256;
			struct collect_run *more = realloc(o->runs, cap * sizeof(*more));

			if (!more)
				return err_set(ENOMEM, "%s: list its pages", o->name);
			o->runs = more;
			o->runs_cap = cap;
		}
		/* room was made above whenever there was none */
		o->runs[o->nruns++] = s->run[i]; // NOLINT(clang-analyzer-core.NullDereference)
	}
	return 0;
}

/* Where in the file it will lie if no more zeros come before it; NULL: better not count on that. */
static uint8_t *room_ahead(const struct chunk *k, uint64_t *ret_off)
{
	/* in this order: whoever sees the zeros sees that it has to be patient */
	*ret_off = k->before - atomic_load(&k->obj->left_out);
	return k->number < atomic_load(&k->obj->patience) ? NULL : pages_file_room(&k->obj->out, *ret_off, k->len);
}

/* False: something failed elsewhere, its turn may never come. */
static bool wait_for_turn(const struct collect *c, const struct chunk *k)
{
	while (atomic_load_explicit(&k->obj->turn, memory_order_acquire) != k->number) {
		if (atomic_load(&c->err))
			return false;
		sched_yield();
	}
	return true;
}

/* Its turn: where it goes, and, if it was read into the file but not to there, moving it. */
static int take_place(const struct collect *c, const struct chunk *k, struct stored *s, const uint64_t *read_to)
{
	struct collect_object *o = k->obj;
	uint64_t off = o->off;
	int err = append_runs(o, s);

	o->off += s->len;
	if (s->len < k->len) {
		atomic_store(&o->patience, k->number + 4 * c->workers);
		atomic_fetch_add(&o->left_out, k->len - s->len);
	}
	if (err >= 0 && read_to && (*read_to != off || s->len < k->len))
		err = pages_file_write(&o->out, s->from, s->n, off);
	atomic_store_explicit(&o->turn, k->number + 1, memory_order_release);
	if (err >= 0 && !read_to)
		return pages_file_write(&o->out, s->from, s->n, off);
	pages_file_ahead(&o->out, off, k->len);
	return err;
}

static int collect_chunk(struct collect *c, const struct chunk *k, uint8_t *buf, struct stored *s)
{
	struct iovec v[COLLECT_IOVS] = { 0 };
	size_t n = ranges_of(k, v);
	uint64_t off;
	uint8_t *room = room_ahead(k, &off), *to = room ? room : buf;
	int err = target_read(k->obj, v, n, by_mem(k), to);

	memset(s->gone, 0, sizeof(s->gone));
	if (err < 0 && !k->obj->may_vanish)
		return err;
	if (err < 0)
		target_read_rest(k->obj, v, n, to, s->gone);
	look(k, v, n, to, s);
	if (!wait_for_turn(c, k))
		return 0;
	err = take_place(c, k, s, room ? &off : NULL);
	atomic_fetch_add(c->done, k->len);
	return err;
}

/* --- workers ------------------------------------------------------------------------------------ */

static void fail(struct collect *c, int err)
{
	pthread_mutex_lock(&c->lock);
	if (!atomic_load(&c->err)) {
		snprintf(c->why, sizeof(c->why), "%s", err_text());
		atomic_store(&c->err, err);
	}
	pthread_mutex_unlock(&c->lock);
}

static void *work(void *arg)
{
	uint64_t from = trace_now_ns(), bytes = 0;
	struct collect *c = arg;
	struct stored *s = malloc(sizeof(*s));
	uint8_t *buf = mmap(NULL, c->longest, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!s || buf == MAP_FAILED)
		fail(c, err_set(ENOMEM, "make a buffer for a dump worker"));
	while (s && buf != MAP_FAILED && !atomic_load(&c->err)) {
		size_t i = atomic_fetch_add(&c->next, 1);
		int err;

		if (i >= c->n)
			break;
		bytes += c->chunks[i].len;
		err = *c->stop ? err_say(ECANCELED, "interrupted") : collect_chunk(c, &c->chunks[i], buf, s);
		if (err < 0)
			fail(c, err);
	}
	if (buf != MAP_FAILED)
		munmap(buf, c->longest);
	free(s);
	trace_worker("read memory, write pages", from, bytes);
	return NULL;
}

/* Waits for a worker; false after a while. */
static bool joined(pthread_t th)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += TICK_NS;
	t.tv_sec += t.tv_nsec / SECOND_NS;
	t.tv_nsec %= SECOND_NS;
	return !pthread_clockjoin_np(th, NULL, CLOCK_MONOTONIC, &t);
}

static void run(struct collect *c, unsigned nthreads, void (*tick)(void *ctx), void *ctx)
{
	pthread_t th[MAX_THREADS];
	unsigned started = 0;

	c->workers = nthreads ? nthreads : 1;
	while (nthreads > 1 && started < nthreads && started < MAX_THREADS &&
	       !pthread_create(&th[started], NULL, work, c))
		started++;
	if (!started)
		work(c);
	while (started) {
		started -= joined(th[started - 1]);
		if (tick)
			tick(ctx);
	}
}

static uint64_t object_len(const struct collect_object *o)
{
	uint64_t len = 0;

	for (size_t i = 0; i < o->npieces; i++)
		len += o->pieces[i].len;
	return len;
}

int collect_run_all(struct collect_object *objects, size_t n, unsigned nthreads, _Atomic uint64_t *done,
		    const volatile int *stop, void (*tick)(void *ctx), void *ctx)
{
	struct collect c = { .done = done, .stop = stop, .lock = PTHREAD_MUTEX_INITIALIZER };
	int err = 0;

	for (size_t i = 0; err >= 0 && i < n; i++)
		err = cut_object(&c, &objects[i]);
	if (c.n < nthreads)
		nthreads = (unsigned)c.n;
	for (size_t i = 0; i < n; i++)
		pages_file_prepare(&objects[i].out, object_len(&objects[i]), nthreads);
	if (err >= 0 && c.n) {
		run(&c, nthreads, tick, ctx);
		if (atomic_load(&c.err))
			err = err_adopt(-atomic_load(&c.err), c.why);
	}
	for (size_t i = 0; i < n; i++) {
		int e = pages_file_finish(&objects[i].out, objects[i].off);

		err = err < 0 ? err : e;
	}
	free(c.chunks);
	return err;
}
