/* SPDX-License-Identifier: Apache-2.0 */
/* Probes of memory interfaces (probe.h), on a page or a file of our own. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kern/probe.h"
#include "kern/thp.h"
#include "kern/uring.h"

/* Newer than the headers thaw builds with (Debian 12: Linux 6.1). */
enum { CACHESTAT = 451, MSEAL = 462, PAGE = 4096 };

struct query_arg { /* linux/fs.h: struct procmap_query */
	uint64_t size, query_flags, query_addr, vma_start, vma_end, vma_flags, page_size, offset, inode;
	uint32_t dev_major, dev_minor, name_len, build_id_len;
	uint64_t name, build_id;
};
#define QUERY_IOCTL _IOWR('f', 17, struct query_arg)

static void *page_map(void)
{
	return mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

int probe_vm_readv(uint64_t arg, char *note)
{
	char from = 1, to = 0;
	struct iovec local = { &to, 1 }, remote = { &from, 1 };

	(void)arg;
	(void)note;
	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) < 0 ? -errno : 0;
}

int probe_pagemap_scan_ioctl(uint64_t arg, char *note)
{
	auto_close int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t at = (uint64_t)(uintptr_t)&fd & ~(uint64_t)(PAGE - 1), run[3];
	struct probe_scan scan = {
		.size = sizeof(scan), .start = at, .end = at + PAGE, .vec = (uint64_t)(uintptr_t)run, .vec_len = 1,
		.all = 1 << 3, .want = 1 << 3, /* present */
	};

	(void)arg;
	(void)note;
	if (fd < 0 || ioctl(fd, PROBE_SCAN_IOCTL, &scan) < 0)
		return -errno;
	return 0;
}

int probe_procmap_query(uint64_t arg, char *note)
{
	auto_close int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	struct query_arg query = { .size = sizeof(query), .query_addr = (uint64_t)(uintptr_t)&fd };

	(void)arg;
	(void)note;
	return fd < 0 || ioctl(fd, QUERY_IOCTL, &query) < 0 ? -errno : 0;
}

/* Opens the file of our first mapping, which is thaw's own. */
int probe_map_files_open(uint64_t arg, char *note)
{
	auto_free char *maps = NULL;
	ssize_t len = io_slurp(AT_FDCWD, "/proc/self/maps", &maps);
	auto_close int fd = -1;
	uint64_t start, end;
	char path[80];

	(void)arg;
	(void)note;
	if (len < 0)
		return (int)len;
	if (sscanf(maps, "%lx-%lx", &start, &end) != 2)
		return -EBADMSG;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", start, end);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : 0;
}

int probe_memfd_make(uint64_t arg, char *note)
{
	auto_close int fd = memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)arg;
	(void)note;
	return fd < 0 ? -errno : 0;
}

/* 1 soft-dirty, 0 not, or -errno. */
static int dirty_bit(const void *page)
{
	auto_close int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = io_pread(fd, &entry, sizeof(entry), (uintptr_t)page / PAGE * sizeof(entry));
	if (n != (ssize_t)sizeof(entry))
		return n < 0 ? (int)n : -ENODATA;
	return entry >> 55 & 1;
}

static int dirty_clear(void)
{
	auto_close int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : io_write(fd, "4", 1);
}

/*
 * A kernel without the bit takes the order to clear it and never sets it:
 * only writing a page and looking tells (6.18 with CONFIG_MEM_SOFT_DIRTY off).
 */
static int dirty_test(volatile char *page)
{
	int r;

	*page = 1;
	r = dirty_clear();
	if (r < 0)
		return r;
	r = dirty_bit((const void *)page);
	if (r)
		return r < 0 ? r : -EBADMSG;
	*page = 2;
	r = dirty_bit((const void *)page);
	return r > 0 ? 0 : r < 0 ? r : -EOPNOTSUPP;
}

int probe_soft_dirty(uint64_t arg, char *note)
{
	char *page = page_map();
	int r;

	(void)arg;
	if (page == MAP_FAILED)
		return -errno;
	r = dirty_test(page);
	munmap(page, PAGE);
	if (r == -EOPNOTSUPP)
		snprintf(note, FEATURE_NOTE_LEN, "accepted, but a written page does not become dirty");
	return r;
}

int probe_madvise_page(uint64_t advice, char *note)
{
	void *page = page_map();
	int r;

	(void)note;
	if (page == MAP_FAILED)
		return -errno;
	r = madvise(page, PAGE, (int)advice) < 0 ? -errno : 0;
	munmap(page, PAGE);
	return r;
}

/* Of no bytes: only the advice itself is looked at. */
int probe_madvise_known(uint64_t advice, char *note)
{
	(void)note;
	return madvise(NULL, 0, (int)advice) < 0 ? -errno : 0;
}

int probe_cachestat_call(uint64_t arg, char *note)
{
	auto_close int fd = memfd_create("probe", MFD_CLOEXEC); /* asking is for those who may write the file */
	uint64_t range[2] = { 0, PAGE }, stat[5];

	(void)arg;
	(void)note;
	return fd < 0 || syscall(CACHESTAT, fd, range, stat, 0) < 0 ? -errno : 0;
}

/* Of no bytes: a page that was sealed could never be unmapped again. */
int probe_mseal_call(uint64_t arg, char *note)
{
	(void)arg;
	(void)note;
	return syscall(MSEAL, NULL, 0, 0) < 0 ? -errno : 0;
}

int probe_thp_mode(uint64_t arg, char *note)
{
	static const char *const word[] = { "never", "madvise", "always" };
	int mode = thp_mode();

	(void)arg;
	if (mode < 0)
		return mode;
	snprintf(note, FEATURE_NOTE_LEN, "mode %s", word[mode]);
	return mode == THP_NEVER ? -EOPNOTSUPP : 0;
}

int probe_uring_setup(uint64_t arg, char *note)
{
	char reason[URING_REASON_LEN] = "";
	int r = uring_try(1, reason);

	(void)arg;
	snprintf(note, FEATURE_NOTE_LEN, "%.*s", FEATURE_NOTE_LEN - 1, reason);
	return r;
}
