/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of userfaultfd (probe.h): each does once, on two pages, what dump or restore would do with gigabytes. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kern/probe.h"

enum { PAGE = 4096 };

/* Newer than the headers thaw builds with (Debian 12: Linux 6.1). */
enum { FEATURE_WP_UNPOPULATED = 1 << 13, FEATURE_WP_ASYNC = 1 << 15, FEATURE_MOVE = 1 << 16 };
struct move_arg { /* struct uffdio_move */
	uint64_t dst, src, len, mode;
	int64_t moved;
};
#define MOVE_IOCTL _IOWR(UFFDIO, 0x05, struct move_arg)
enum { SCAN_WP_MATCHING = 1, SCAN_CHECK_WPASYNC = 2, PAGE_WRITTEN = 1 << 1 };

/* Returns a descriptor with these features, or -errno. */
static int uffd_make(int flags, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	auto_close int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0)
		return -errno;
	return take_fd(&fd);
}

static int uffd_register(int fd, void *at, size_t len, uint64_t mode)
{
	struct uffdio_register reg = { .range = { (uint64_t)(uintptr_t)at, len }, .mode = mode };

	return ioctl(fd, UFFDIO_REGISTER, &reg) < 0 ? -errno : 0;
}

/* Without privileges a descriptor for faults from user space alone can be had, which read(2) into the memory breaks. */
int probe_uffd_open(uint64_t arg, char *note)
{
	auto_close int fd = uffd_make(0, 0);

	(void)arg;
	(void)note;
	return fd < 0 ? fd : 0;
}

static int move_test(char *pages)
{
	auto_close int fd = uffd_make(UFFD_USER_MODE_ONLY, FEATURE_MOVE);
	struct move_arg move = { .dst = (uint64_t)(uintptr_t)pages,
				 .src = (uint64_t)(uintptr_t)pages + PAGE,
				 .len = PAGE };
	int r = fd < 0 ? fd : uffd_register(fd, pages, PAGE, UFFDIO_REGISTER_MODE_MISSING);

	if (r < 0)
		return r;
	pages[PAGE] = 7;
	if (ioctl(fd, MOVE_IOCTL, &move) < 0)
		return -errno;
	return pages[0] == 7 ? 0 : -EBADMSG;
}

/* 1: the page was written since the last call (or since it was registered), 0 not, or -errno. */
static int written_take(int pagemap, const char *page)
{
	uint64_t run[3], at = (uint64_t)(uintptr_t)page;
	struct probe_scan scan = {
		.size = sizeof(scan), .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC, .start = at, .end = at + PAGE,
		.vec = (uint64_t)(uintptr_t)run, .vec_len = 1, .all = PAGE_WRITTEN, .want = PAGE_WRITTEN,
	};
	int n = ioctl(pagemap, PROBE_SCAN_IOCTL, &scan);

	return n < 0 ? -errno : n;
}

static int wp_async_test(char *pages)
{
	auto_close int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	auto_close int fd = uffd_make(UFFD_USER_MODE_ONLY, FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED);
	volatile char *at = pages;
	int r = fd < 0 ? fd : uffd_register(fd, pages, PAGE, UFFDIO_REGISTER_MODE_WP);

	if (r < 0)
		return r;
	*at = 1;
	r = written_take(pagemap, pages);
	if (r == 1)
		r = written_take(pagemap, pages) == 0 ? 1 : -EBADMSG;
	*at = 2;
	if (r == 1)
		r = written_take(pagemap, pages);
	return r == 1 ? 0 : r < 0 ? r : -EBADMSG;
}

static int on_pages(int (*test)(char *pages))
{
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (pages == MAP_FAILED)
		return -errno;
	r = test(pages);
	munmap(pages, 2 * PAGE);
	return r;
}

int probe_uffd_move(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return on_pages(move_test);
}

int probe_uffd_wp_async(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return on_pages(wp_async_test);
}
