/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that the driver lends (gpu_lent.h). */
#include "gpu/gpu_lent.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "gpu/gpu_copy.h"

/* One operation of the driver. */
struct loan {
	const struct gpu_lent *l;
	struct cuda_lent *view;
	struct gpu_part part[GPU_MOST];
	uint64_t len; /* of the file */
};

/* --- what is lent ----------------------------------------------------------------------------------- */

/* The GPU that the image names for one that is here. */
static const uint8_t *old_uuid(const struct loan *n, size_t gpu)
{
	const uint8_t *uuid = n->l->driver->device[gpu].uuid;

	for (size_t i = 0; n->l->map && i < n->l->map->n; i++)
		if (!memcmp(n->l->map->pair[i].to, uuid, GPU_UUID_LEN))
			return n->l->map->pair[i].from;
	return uuid;
}

/* Which GPU a range is on only its stream tells. */
static int range_place(const struct loan *n, const struct cuda_lent_gpu *range, struct gpu_part *ret)
{
	const struct cuda_api *a = &n->l->driver->api;
	cuda_ctx ctx = NULL;
	int r = cuda_check(a, a->stream_ctx(range->stream, &ctx), "process %d: where its GPU memory is", n->l->pid);

	for (size_t i = 0; r >= 0 && i < n->l->slots->n; i++) {
		const struct gpu_slot *slot = n->l->slots->slot[i];

		if (slot->ctx == ctx) {
			*ret = (struct gpu_part){ .gpu = slot->gpu, .at = range->at, .len = range->len };
			return 0;
		}
	}
	return r < 0 ? r : err_say(ENODEV, "process %d: the driver lends memory of a GPU that has no context", n->l->pid);
}

static void part_insert(struct loan *n, size_t have, const struct gpu_part *p)
{
	size_t i = have;

	for (; i && memcmp(old_uuid(n, n->part[i - 1].gpu), old_uuid(n, p->gpu), GPU_UUID_LEN) > 0; i--)
		n->part[i] = n->part[i - 1];
	n->part[i] = *p;
}

static int parts_make(struct loan *n)
{
	if (!n->view || n->view->n > GPU_MOST || (n->view->n && !n->view->gpu))
		return err_say(EIO, "process %d: the driver lends nothing that can be used", n->l->pid);
	for (size_t i = 0; i < n->view->n; i++) {
		struct gpu_part p;
		int r = range_place(n, &n->view->gpu[i], &p);

		if (r < 0)
			return r;
		part_insert(n, i, &p);
	}
	n->len = 0;
	for (size_t i = 0; i < n->view->n; i++) {
		n->part[i].offset = n->len;
		n->len += (n->part[i].len + GPU_PAGE - 1) & ~(uint64_t)(GPU_PAGE - 1);
	}
	if (!n->len)
		n->len = GPU_PAGE; /* a file that is empty says that nothing was lent */
	return 0;
}

static int loan_begin(struct loan *n, const struct gpu_lent *l, enum gpu_step step)
{
	int r;

	*n = (struct loan){ .l = l };
	r = gpu_driver_step(l->driver, step, l->pid, 0, l->map, &n->view);
	return r < 0 ? r : parts_make(n);
}

/* Whether it succeeds or not, the driver takes back what it has lent. */
static int loan_end(struct loan *n)
{
	const struct cuda_api *a = &n->l->driver->api;

	return cuda_check(a, a->operation_complete(n->view->operation), "process %d: the driver takes back GPU memory",
			  n->l->pid);
}

static int loan_copy(const struct loan *n, bool load, int fd)
{
	const struct gpu_copy copy = { n->l->driver, load, fd, n->part, n->view->n };
	uint64_t bytes;

	if (!load && ftruncate(fd, (off_t)n->len) < 0)
		return err_set(errno, "make the file for GPU memory");
	return gpu_copy_run(&copy, n->l->slots->slot, n->l->slots->n, &bytes);
}

/* --- restore ------------------------------------------------------------------------------------------ */

static int loan_fill(const struct loan *n, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(errno, "process %d: GPU memory in the image", n->l->pid);
	if ((uint64_t)st.st_size != n->len)
		return err_say(EINVAL, "process %d: the image holds %lu MiB of GPU memory, and the driver wants %lu", n->l->pid,
			       (unsigned long)st.st_size >> 20, (unsigned long)(n->len >> 20));
	return loan_copy(n, true, fd);
}

static int restore_from(const struct gpu_lent *l, int fd)
{
	struct loan n;
	int r = loan_begin(&n, l, GPU_RESTORE);

	if (r >= 0)
		r = loan_fill(&n, fd);
	if (r >= 0)
		return loan_end(&n);
	if (!n.view || !l->doomed)
		return r; /* rather stuck than with wrong memory */
	(void)n.l->driver->api.operation_complete(n.view->operation);
	return r;
}

int gpu_lent_restore(const struct gpu_lent *l)
{
	return restore_from(l, l->payload_fd);
}

/* --- checkpoint --------------------------------------------------------------------------------------- */

static bool memory_fits(uint64_t len)
{
	enum { SPARE = 1 << 30 };
	auto_free char *text = NULL;
	unsigned long long kb = 0;
	const char *at = io_slurp(AT_FDCWD, "/proc/meminfo", &text) < 0 ? NULL : strstr(text, "MemAvailable:");

	return at && sscanf(at, "MemAvailable: %llu", &kb) == 1 && kb * 1024 > len + SPARE;
}

/* The file could not be written, for the reason that err_text() gives. */
static int give_back(struct loan *n, int why_not)
{
	struct gpu_lent back = *n->l;
	auto_close int fd = -1;
	char why[512];
	int r;

	snprintf(why, sizeof(why), "%s", err_text());
	fd = memfd_create("thaw-gpu-memory", MFD_CLOEXEC);
	r = fd < 0 ? err_set(errno, "make a file in memory") : 0;
	if (r >= 0 && !memory_fits(n->len))
		r = err_say(ENOMEM, "there is no room for it in memory either");
	if (r >= 0)
		r = loan_copy(n, false, fd);
	if (r < 0) { /* it is still where it was, in the driver's hands */
		log_warn("process %d: its GPU memory cannot be put back: %s", n->l->pid, err_text());
		return err_adopt(-why_not, why);
	}
	back.map = NULL;
	r = loan_end(n);
	if (r >= 0)
		r = restore_from(&back, fd);
	if (r < 0)
		log_warn("process %d: its GPU memory was not put back: %s", n->l->pid, err_text());
	return err_adopt(-why_not, why);
}

static bool is_locked(const struct gpu_lent *l)
{
	enum gpu_state state;

	return gpu_driver_state(l->driver, l->pid, &state) >= 0 && state == GPU_LOCKED;
}

int gpu_lent_checkpoint(const struct gpu_lent *l)
{
	struct loan n;
	int r = loan_begin(&n, l, GPU_CHECKPOINT);

	if (r < 0 && !n.view) {
		char why[512];

		snprintf(why, sizeof(why), "%s", err_text());
		if (!is_locked(l))
			return err_adopt(-r, why);
		log_warn("%s: the driver copies itself", why);
		return 1;
	}
	if (r < 0)
		return r;
	r = loan_copy(&n, false, l->payload_fd);
	return r < 0 ? give_back(&n, r) : loan_end(&n);
}
