/* SPDX-License-Identifier: Apache-2.0 */
/* Several reads at once (deep_read.h). */
#include "page/deep_read.h"

#include <sched.h>
#include <stdlib.h>

static void read_now(const struct deep_job *j)
{
	j->done(j, page_source_read(j->from, j->direct, j->to, j->len, j->off));
}

#ifdef HAVE_LIBURING
#include <liburing.h>

enum { DEPTH = 8 };

struct deep_read {
	struct io_uring ring;
	bool broken;
	struct deep_job job[DEPTH];
	bool busy[DEPTH];
	unsigned in_flight;
};

struct deep_read *deep_read_new(void)
{
	struct deep_read *d = calloc(1, sizeof(*d));

	if (!d || !io_uring_queue_init(DEPTH, &d->ring, 0))
		return d;
	free(d);
	return NULL;
}

/* What came back short or not at all is read again, which also says what is wrong with it. */
static void finish_one(struct deep_read *d)
{
	struct io_uring_cqe *cqe;
	uint64_t i;
	int32_t res;

	/* a ring that cannot be waited for any more still shows what is complete */
	while (io_uring_wait_cqe(&d->ring, &cqe) < 0)
		sched_yield();
	i = io_uring_cqe_get_data64(cqe);
	res = cqe->res;
	io_uring_cqe_seen(&d->ring, cqe);
	d->busy[i] = false;
	d->in_flight--;
	if (res >= 0 && (uint32_t)res == d->job[i].len)
		d->job[i].done(&d->job[i], 0);
	else
		read_now(&d->job[i]);
}

static unsigned free_job(struct deep_read *d)
{
	unsigned i = 0;

	if (d->in_flight == DEPTH)
		finish_one(d);
	while (d->busy[i])
		i++;
	return i;
}

void deep_read_start(struct deep_read *d, const struct deep_job *j)
{
	struct io_uring_sqe *sqe;
	unsigned i;

	if (!d || d->broken || !(j->direct || j->from->io == PIE_IO_URING)) {
		read_now(j);
		return;
	}
	i = free_job(d);
	d->job[i] = *j;
	sqe = io_uring_get_sqe(&d->ring);
	io_uring_prep_read(sqe, j->direct ? j->from->direct_fd : j->from->fd, j->to, (unsigned)j->len, j->off);
	sqe->rw_flags = RWF_NOWAIT;
	io_uring_sqe_set_data64(sqe, i);
	if (io_uring_submit(&d->ring) == 1) {
		d->busy[i] = true;
		d->in_flight++;
		return;
	}
	/* the request still lies in the queue: nothing may be submitted after it, which would submit it, too */
	d->broken = true;
	read_now(j);
}

void deep_read_end(struct deep_read *d)
{
	if (!d)
		return;
	while (d->in_flight)
		finish_one(d);
	io_uring_queue_exit(&d->ring);
	free(d);
}

#else

struct deep_read *deep_read_new(void)
{
	return NULL;
}

void deep_read_start(struct deep_read *d, const struct deep_job *j)
{
	(void)d;
	read_now(j);
}

void deep_read_end(struct deep_read *d)
{
	(void)d;
}

#endif
