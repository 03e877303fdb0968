/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of processes and threads (ids.h). Runs in the engine, before anything is
 * created. A number that is free now may be taken later: then the blob
 * tries again for a while, and the sentence comes from there.
 */
#include "restore/ids.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/io.h"

/* Low numbers are a system's own (the kernel starts over at 300, too). */
enum { SPARE_ABOVE = 300, SPARE_MOST = 2048, PID_MAX_USUAL = 32768 };

static int by_number(const void *a, const void *b)
{
	const int32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static size_t count_threads(const struct rtask *k)
{
	return k->t && !k->t->zombie ? k->t->ncores : 1;
}

static void collect(struct restore *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->tree.n; i++)
		n += count_threads(r->tree.tasks[i]);
	r->ids = arena_alloc(r->kinds.a, n * sizeof(*r->ids));
	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];

		r->ids[r->nids++] = k->pid;
		for (size_t j = 1; j < count_threads(k); j++)
			r->ids[r->nids++] = (int32_t)k->t->pst->threads[j];
	}
	qsort(r->ids, r->nids, sizeof(*r->ids), by_number);
}

bool ids_needed(const void *ctx, int32_t id)
{
	const struct restore *r = ctx;

	return bsearch(&id, r->ids, r->nids, sizeof(*r->ids), by_number);
}

static int32_t pid_max(void)
{
	auto_free char *text = NULL;

	if (io_slurp(AT_FDCWD, "/proc/sys/kernel/pid_max", &text) <= 0)
		return PID_MAX_USUAL;
	return (int32_t)strtol(text, NULL, 10);
}

static bool is_free(int32_t id)
{
	return kill(id, 0) < 0 && errno == ESRCH;
}

/* The first free number above all that the image needs; 0 when there is none. */
static int32_t number_for_engine(const struct restore *r, int32_t max)
{
	for (int32_t id = r->ids[r->nids - 1] + 1; id < max; id++)
		if (is_free(id))
			return id;
	return 0;
}

static int check(const struct restore *r, int32_t id, int32_t max)
{
	bool sibling = r->kinds.opts->restore_sibling;

	if (id >= max)
		return err_say(EINVAL, "PID %d of the image is above the limit kernel.pid_max, which is %d here", id, max);
	if (id == getpid() && !sibling)
		return guard_other_pid(number_for_engine(r, max));
	if (id == (sibling ? getpid() : getppid()))
		return err_say(EEXIST, "PID %d is thaw's own: start thaw once more, or restore in a new PID namespace", id);
	if (!is_free(id))
		return err_say(EEXIST,
			       "PID or thread ID %d is taken by another process: end it, or restore in a new PID namespace",
			       id);
	return 0;
}

/* From the top of the range down: numbers that the image does not need, and that nobody has. */
static void choose_spare(struct restore *r, int32_t max)
{
	uint64_t want = (uint64_t)r->workers * 2 * r->tree.n;

	want = want < SPARE_MOST ? want : SPARE_MOST;
	r->spare_ids = arena_alloc(r->kinds.a, want * sizeof(int32_t));
	for (int32_t id = max - 1; id > SPARE_ABOVE && r->nspare_ids < want; id--)
		if (!ids_needed(r, id) && is_free(id))
			r->spare_ids[r->nspare_ids++] = id;
}

int ids_plan(struct restore *r)
{
	int32_t max = pid_max();
	int err = 0;

	collect(r);
	for (size_t i = 0; err >= 0 && !r->plan_only && i < r->nids; i++)
		err = check(r, r->ids[i], max);
	if (err >= 0)
		choose_spare(r, max);
	return err;
}
