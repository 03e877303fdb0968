/* SPDX-License-Identifier: Apache-2.0 */
/* The file of GPU memory (gpu_payload.h). */
#include "gpu/gpu_payload.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/advice.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "gpu/gpu_pieces.h"
#include "kern/direct_io.h"

enum { SMALL = 4096 };

/* A descriptor of our own: the flag belongs to the open file, which others have, too. */
static int direct_open(int fd, uint32_t *ret_align)
{
	int align = direct_io_align(fd);
	char path[40];

	if (!align)
		return -1;
	*ret_align = align > 0 ? (uint32_t)align : SMALL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
}

/* The payload, should it be in memory, at an address that suits huge pages; NULL: it is written as a file. */
static uint8_t *memory_map(int fd, uint64_t len, void **ret_room)
{
	struct statfs fs;
	uint8_t *at;

	if (fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC || ftruncate(fd, (off_t)len))
		return NULL;
	*ret_room = mmap(NULL, len + GPU_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (*ret_room == MAP_FAILED)
		return NULL;
	at = (uint8_t *)(((uintptr_t)*ret_room + GPU_PAGE - 1) & ~(uintptr_t)(GPU_PAGE - 1));
	if (mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED)
		return at;
	munmap(*ret_room, len + GPU_PAGE);
	return NULL;
}

void gpu_payload_open(int fd, bool load, uint64_t len, struct gpu_payload *ret)
{
	*ret = (struct gpu_payload){ .fd = fd, .direct_fd = -1, .len = len };
	if (load) {
		ret->direct_fd = direct_open(fd, &ret->align);
		ret->cold = ret->direct_fd >= 0 && direct_io_cold(fd, 0, len);
	} else if (len) {
		ret->map = memory_map(fd, len, &ret->room);
	}
}

void gpu_payload_close(struct gpu_payload *p)
{
	if (p->map)
		munmap(p->room, p->len + GPU_PAGE);
	close_fd(&p->direct_fd);
}

bool gpu_payload_is_hole(const struct gpu_payload *p, uint64_t off, size_t len)
{
	off_t data = lseek(p->fd, (off_t)off, SEEK_DATA);

	return data < 0 ? errno == ENXIO : (uint64_t)data >= off + len;
}

int gpu_payload_read(struct gpu_payload *p, void *to, uint64_t off, size_t len)
{
	bool direct = p->direct_fd >= 0 && !((off | len) & (p->align - 1)) && direct_io_cold(p->fd, off, len);
	ssize_t n = io_pread(direct ? p->direct_fd : p->fd, to, len, off);

	if (n == -EINVAL && direct) { /* its disk is stricter than it said */
		direct = false;
		n = io_pread(p->fd, to, len, off);
	}
	if (n < 0)
		return err_set((int)-n, "read GPU memory from the image");
	if ((size_t)n < len)
		return err_say(ENODATA, "GPU memory in the image ends at %#lx", off + (uint64_t)n);
	if (direct)
		p->past += len;
	return 0;
}

int gpu_payload_write(const struct gpu_payload *p, const void *from, uint64_t off, size_t len)
{
	int r;

	if (!p->map) {
		r = io_pwrite(p->fd, from, len, off);
		return r < 0 ? err_set(-r, "write GPU memory") : 0;
	}
	for (size_t i = 0; i < len; i += GPU_PAGE)
		(void)!madvise(p->map + off + i, SMALL, MADV_POPULATE_WRITE);
	(void)!madvise(p->map + off, len, MADV_COLLAPSE);
	/* a mere store would be a SIGBUS where there is no room */
	if (madvise(p->map + off, len, MADV_POPULATE_WRITE) < 0)
		return err_set(errno == EFAULT || errno == ENOMEM ? ENOSPC : errno, "write GPU memory");
	memcpy(p->map + off, from, len);
	return 0;
}
