/* SPDX-License-Identifier: Apache-2.0 */
/* GPU memory that the driver lends at a checkpoint (gpu_lend.h). Runs in the engine. */
#include "dump/gpu_lend.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "dump/gpu_dump.h"

/* The file's name, for whoever has to help when the engine is gone. */
static int path_note(int fd, struct gpu_ledger_row *row)
{
	char link[40];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, row->payload, sizeof(row->payload));
	if (len <= 0 || (size_t)len >= sizeof(row->payload))
		return err_say(ENAMETOOLONG, "the name of the image is too long for GPU memory that the driver lends");
	row->payload[len] = '\0';
	return 0;
}

static int prepare_one(struct dump *d, struct gpu_proc *p)
{
	auto_close int fd = imgdir_create(d->kinds.dir, IMG_GPU_PAGES, (uint64_t)p->pid);
	int err = fd < 0 ? fd : path_note(fd, p->row);

	if (err >= 0)
		p->payload_fd = take_fd(&fd);
	return err;
}

int gpu_lend_prepare(struct dump *d, bool (*wants)(const struct gpu_proc *p))
{
	bool lends = false;
	int err = d->kinds.opts->gpu_direct ? gpu_client_lends(d->gpu->client, &lends) : 0;

	for (size_t i = 0; err >= 0 && lends && i < d->gpu->n; i++) {
		struct gpu_proc *p = &d->gpu->v[i];

		if (wants(p) && !p->away.pieces.n)
			err = err_ctx(prepare_one(d, p), "task %d (%s)", p->pid, p->comm);
	}
	return err;
}

static bool is_empty(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 || !st.st_size;
}

/* A driver that offers to lend may refuse, and has copied itself then. */
void gpu_lend_settle(struct gpu_proc *p)
{
	if (p->payload_fd < 0 || !is_empty(p->payload_fd))
		return;
	unlink(p->row->payload);
	p->row->payload[0] = '\0';
	close(p->payload_fd);
	p->payload_fd = -1;
}

bool gpu_lend_note(const struct gpu_proc *p, ThawGpuEntry *e)
{
	struct stat st;

	if (p->payload_fd < 0 || fstat(p->payload_fd, &st) < 0)
		return false;
	e->has_lent_len = true;
	e->lent_len = (uint64_t)st.st_size;
	log_info("task %d (%s): %lu MiB of GPU memory were copied by thaw, as the driver lent it", p->pid, p->comm,
		 (unsigned long)(e->lent_len >> 20));
	return true;
}

void gpu_lend_done(struct dump *d)
{
	for (size_t i = 0; i < d->gpu->n; i++)
		close_fd(&d->gpu->v[i].payload_fd);
}

int gpu_lend_rescue(struct gpu_client *c, const struct gpu_ledger_row *row, uint32_t timeout_ms, uint32_t *ret_ticket)
{
	auto_close int fd = open(row->payload, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(errno, "%s, which holds its GPU memory", row->payload);
	if (is_empty(fd))
		return gpu_client_start(c, GPU_RESTORE, row->pid, timeout_ms, NULL, ret_ticket);
	return gpu_client_lend(c, GPU_RESTORE, row->pid, timeout_ms, NULL, fd, false, ret_ticket);
}
