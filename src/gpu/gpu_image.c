/* SPDX-License-Identifier: Apache-2.0 */
/* The identity of an image (gpu_image.h). */
#include "gpu/gpu_image.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool gpu_image_same(const struct gpu_image *a, const struct gpu_image *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->len == b->len && same_time(a->modified, b->modified) &&
	       same_time(a->changed, b->changed);
}

/* File times have steps: what is written in the step of the last change would not show. */
static void step_pause(struct timespec changed)
{
	enum { STEP_NS = 20000000 };
	struct timespec now;
	int64_t ns;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (now.tv_sec - changed.tv_sec) * INT64_C(1000000000) + now.tv_nsec - changed.tv_nsec;
	if (ns >= 0 && ns < STEP_NS)
		nanosleep(&(struct timespec){ .tv_nsec = STEP_NS - ns }, NULL);
}

static int image_stat(int fd, struct gpu_image *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(errno, "look at the image");
	*ret = (struct gpu_image){ st.st_dev, st.st_ino, (uint64_t)st.st_size, st.st_mtim, st.st_ctim };
	return S_ISREG(st.st_mode) ? 0 : err_say(EINVAL, "the image is not a file");
}

int gpu_image_of(int fd, struct gpu_image *ret)
{
	int flags = fcntl(fd, F_GETFL), r;
	struct gpu_image again;

	if (flags < 0 || flags & O_PATH || (flags & O_ACCMODE) == O_WRONLY)
		return err_say(EPERM, "the image was not opened for reading");
	r = image_stat(fd, ret);
	if (r < 0)
		return r;
	step_pause(ret->changed);
	r = image_stat(fd, &again);
	if (r >= 0 && !gpu_image_same(ret, &again))
		r = err_say(EBUSY, "the image is being written");
	return r;
}
