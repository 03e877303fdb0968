/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a pipe (pipe_data.h). Runs in the engine.
 *
 * tee(2) copies the queue into a pipe of our own without taking anything out of
 * it. Packets (O_DIRECT) keep their borders there, but the wire format has no
 * place for more than one, so several queued packets are refused.
 *
 * Whether anybody holds the other end is asked from this one: a read end has
 * POLLHUP without writers, a write end has POLLERR without readers. A fifo that
 * never had a writer has no POLLHUP either; there tee() of an empty pipe tells
 * (0: no writer, EAGAIN: one exists). Nothing is opened anew for this: a new end
 * would wake whoever waits for one.
 */
#include "kind/pipe_data.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kind/description.h"

static bool polls(int fd, short event)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) == 1 && p.revents & event;
}

static int pair_make(int *ret_in, int *ret_out)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_set(errno, "pipe()");
	*ret_in = pair[0];
	*ret_out = pair[1];
	return 0;
}

/* Is there a writer? fd is a read end, len bytes are queued. */
static int writer_exists(int fd, int len, bool *ret)
{
	auto_close int in = -1, out = -1;
	ssize_t r;
	int err;

	*ret = !polls(fd, POLLHUP);
	if (!*ret || len)
		return 0;
	err = pair_make(&in, &out);
	if (err < 0)
		return err;
	r = tee(fd, out, 1, SPLICE_F_NONBLOCK);
	if (r < 0 && errno != EAGAIN)
		return err_set(errno, "look into it");
	*ret = r < 0;
	return 0;
}

static int queue_read(struct dumping *d, int in, size_t len, uint8_t **ret)
{
	uint8_t *buf = arena_alloc(d->a, len);
	ssize_t got = read(in, buf, len);

	if (got < 0)
		return err_set(errno, "read a copy of what it holds");
	if ((size_t)got < len)
		return err_say(ENOTSUP, "it holds several packets (O_DIRECT), which is not supported yet");
	*ret = buf;
	return 0;
}

static int queue_copy(struct dumping *d, int fd, uint32_t size, size_t len, uint8_t **ret)
{
	auto_close int in = -1, out = -1;
	int err = pair_make(&in, &out);
	ssize_t got;

	if (err < 0)
		return err;
	if ((uint32_t)fcntl(out, F_GETPIPE_SZ) != size && fcntl(out, F_SETPIPE_SZ, size) < 0)
		return err_set(errno, "make a pipe of %u bytes to copy it to", size);
	got = tee(fd, out, len, SPLICE_F_NONBLOCK);
	if (got < 0 || (size_t)got != len)
		return err_set(got < 0 ? errno : EIO, "copy the %zu bytes it holds", len);
	return queue_read(d, in, len, ret);
}

static void entry_add(struct dumping *d, struct pipe_object *o, const uint8_t *data, uint32_t len)
{
	PipeDataEntry *e = arena_msg(d->a, pipe_data_entry, PipeDataEntry);

	e->pipe_id = o->pipe_id;
	e->bytes = len;
	e->has_size = true;
	e->size = o->size;
	snap_add_payload(d->snap, o->fifo ? IMG_FIFO_DATA : IMG_PIPES_DATA, &e->base, data, len);
	o->saved = true;
}

static int read_end_see(struct dumping *d, struct pipe_object *o, int fd)
{
	uint8_t *data = NULL;
	int len, err;

	if (ioctl(fd, FIONREAD, &len) < 0)
		return err_set(errno, "FIONREAD");
	err = writer_exists(fd, len, &o->far_writer);
	if (!err && len)
		err = queue_copy(d, fd, o->size, (size_t)len, &data);
	if (!err)
		entry_add(d, o, data, (uint32_t)len);
	return err;
}

int pipe_data_see(struct dumping *d, struct pipe_object *o, const struct fd_facts *f)
{
	uint32_t access = f->flags & O_ACCMODE;
	int size = fcntl(f->fd, F_GETPIPE_SZ);

	if (size < 0)
		return err_set(errno, "%s: F_GETPIPE_SZ", f->link);
	o->size = (uint32_t)size;
	if (access != O_RDONLY) {
		o->writes = true;
		o->far_reader = !polls(f->fd, POLLERR);
	}
	if (access == O_WRONLY)
		return 0;
	o->reads = true;
	return o->saved ? 0 : err_ctx(read_end_see(d, o, f->fd), "%s", f->link);
}

static int leads_out(const struct pipe_object *o)
{
	return err_say(ENOTSUP, "%s: its other end is outside of the tree, which is not supported yet (redirect it to a file, or "
		       "dump the process at the other end as well)", o->name);
}

int pipe_data_finish(struct dumping *d, bool fifo)
{
	for (struct pipe_object *o = pipe_table_first(d); o; o = o->next) {
		if (o->fifo != fifo)
			continue;
		if (o->reads != o->writes && (o->reads ? o->far_writer : o->far_reader))
			return leads_out(o);
		if (!o->saved)
			entry_add(d, o, NULL, 0);
	}
	return 0;
}

/* ---- restore --------------------------------------------------------------------------------- */

static int queue_write(const struct pipe_object *o, int fd)
{
	/* A read that got all of it saw either one packet, which is no longer than PIPE_BUF, or no packets at all. */
	uint32_t mode = o->packets && o->data->payload_len <= PIPE_BUF ? O_DIRECT : 0;
	auto_close int out = description_reopen(fd, O_WRONLY | O_NONBLOCK);
	int err;

	if (out < 0)
		return out;
	err = description_flags(out, O_NONBLOCK | mode);
	if (err < 0)
		return err;
	err = io_write(out, o->data->payload, o->data->payload_len);
	if (err < 0)
		return err_set(-err, "put %zu bytes into a pipe of %d", o->data->payload_len, fcntl(out, F_GETPIPE_SZ));
	return 0;
}

int pipe_data_put(const struct pipe_object *o, int fd)
{
	const PipeDataEntry *e = o->data ? (const PipeDataEntry *)o->data->msg : NULL;

	if (e && e->has_size && (uint32_t)fcntl(fd, F_GETPIPE_SZ) != e->size && fcntl(fd, F_SETPIPE_SZ, e->size) < 0)
		return err_set(errno, "set the size of a pipe to %u", e->size);
	return o->data && o->data->payload_len ? queue_write(o, fd) : 0;
}
