/* SPDX-License-Identifier: Apache-2.0 */
/* Filling the memory of a load (gpu_loading.h). Whatever goes wrong with keeping, the load goes on without. */
#include "gpu/gpu_loading.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/progress.h"

static void tell(struct gpu_loading *l, const char *format, ...) like_printf(2, 3);

static void tell(struct gpu_loading *l, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(l->text, sizeof(l->text), format, args);
	va_end(args);
	log_info("gpu: %s", l->text);
}

static uint64_t all_bytes(const struct gpu_loading *l)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->copy.n; i++)
		sum += l->copy.part[i].len;
	return sum;
}

/* "0, 2" */
static void gpus_list(const struct gpu_loading *l, char *text, size_t room)
{
	uint32_t gpus = 0;
	size_t len = 0;

	for (size_t i = 0; i < l->copy.n; i++)
		gpus |= 1u << l->copy.part[i].gpu;
	*text = '\0';
	for (size_t i = 0; i < GPU_MOST && len < room; i++)
		if (gpus & 1u << i)
			len += (size_t)snprintf(text + len, room - len, "%s%zu", len ? ", " : "", i);
}

static void path_read(int fd, char *path, size_t room)
{
	char link[40];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, room - 1);
	path[len > 0 ? len : 0] = '\0';
}

/* What the file held while it was read is known: it is the same before and after. */
static int keep_it(struct gpu_loading *l, const struct gpu_image *before)
{
	char path[160], size[32], gpus[100];
	struct gpu_image after;
	int r = gpu_image_of(l->copy.payload_fd, &after);

	if (r >= 0 && !gpu_image_same(before, &after))
		r = err_say(ESTALE, "the image was changed while it was read");
	path_read(l->copy.payload_fd, path, sizeof(path));
	if (r >= 0)
		r = gpu_keep_add(l->keep, &after, path, l->copy.part, l->copy.n, &l->wish);
	if (r < 0)
		return r;
	l->source = GPU_FROM_FILE_KEPT;
	gpus_list(l, gpus, sizeof(gpus));
	tell(l, "keeping %s of %s on GPU %s for %u s", progress_bytes(size, sizeof(size), all_bytes(l)), path, gpus,
	     l->wish.seconds);
	return 0;
}

int gpu_loading_run(struct gpu_loading *l, const struct gpu_holding *slots)
{
	int kept = l->wish.seconds ? 0 : -ENOENT, r;
	struct gpu_image image;
	char size[32];

	if (kept >= 0)
		kept = gpu_image_of(l->copy.payload_fd, &image);
	r = kept < 0 ? 0 : gpu_keep_use(l->keep, &image, l->copy.part, l->copy.n, &l->wish);
	if (r == 1) {
		l->source = GPU_FROM_KEPT;
		l->bytes = all_bytes(l);
		tell(l, "%s copied on the GPU from what was kept", progress_bytes(size, sizeof(size), l->bytes));
		return 0;
	}
	r = gpu_copy_run(&l->copy, slots->slot, slots->n, &l->bytes);
	if (r >= 0 && kept >= 0)
		kept = keep_it(l, &image);
	if (r >= 0 && kept < 0 && l->wish.seconds)
		tell(l, "nothing is kept: %s", err_text());
	return r;
}
