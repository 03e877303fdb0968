/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptors of a task: /proc/PID/fd and /proc/PID/fdinfo.
 *
 * fdinfo_read() takes the four lines that every descriptor has; what a kind of
 * file adds stays as text, and the fdinfo_<kind>() parsers below read it when
 * that kind is dumped. They return 0 (the _next() ones 1 for a line, 0 at the end),
 * or -EINVAL with a trail when the lines are not there or make no sense.
 */
#ifndef KERN_FDINFO_H
#define KERN_FDINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

struct fdinfo {
	int tfd;
	bool cloexec;
	uint32_t flags; /* O_*, O_CLOEXEC taken out: that belongs to the descriptor, not to the description */
	uint64_t pos;
	uint32_t mnt_id;
	uint64_t ino;     /* 0 before 5.14 */
	const char *rest; /* the lines that follow, NUL-terminated ("" if none) */
};

/* Descriptor numbers in ascending order. */
int fdinfo_list(int proc_fd, struct arena *a, int **ret_tfds, size_t *ret_n) must_check;
int fdinfo_read(int proc_fd, int tfd, struct arena *a, struct fdinfo *ret_info) must_check;
/* What /proc/PID/fd/TFD points at: a path (" (deleted)" left in), "socket:[ino]", "anon_inode:[eventpoll]"... */
int fdinfo_link(int proc_fd, int tfd, struct arena *a, char **ret_target) must_check;

/*
 * The next line "KEY<blanks>VALUE"; *cursor starts as info->rest. Returns VALUE, which is not
 * NUL-terminated but ends in a newline, or NULL.
 */
const char *fdinfo_next(const char **cursor, const char *key);

struct fdinfo_eventfd {
	uint64_t count;
	bool semaphore, has_semaphore; /* the line is there since 6.5 */
};
int fdinfo_eventfd(const struct fdinfo *info, struct fdinfo_eventfd *ret) must_check;

int fdinfo_signalfd(const struct fdinfo *info, uint64_t *ret_mask) must_check;

struct fdinfo_timerfd {
	int clockid;
	uint64_t ticks;
	uint32_t settime_flags; /* TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET */
	uint64_t value_sec, value_nsec; /* time left */
	uint64_t interval_sec, interval_nsec;
};
int fdinfo_timerfd(const struct fdinfo *info, struct fdinfo_timerfd *ret) must_check;

struct fdinfo_epoll {
	int tfd; /* the number at the time of EPOLL_CTL_ADD: another file, or none, may have it now */
	uint32_t events;
	uint64_t data;
	uint64_t pos, ino;
	uint32_t sdev; /* kernel dev_t: major << 20 | minor */
};
int fdinfo_epoll_next(const char **cursor, struct fdinfo_epoll *ret) must_check;

struct fdinfo_inotify {
	int wd;
	uint64_t ino;
	uint32_t sdev, mask, ignored_mask;
	uint32_t handle_type, handle_len;
	uint8_t handle[128];
};
int fdinfo_inotify_next(const char **cursor, struct fdinfo_inotify *ret) must_check;

/* -1: the task is gone or in no namespace that we see. */
int fdinfo_pidfd(const struct fdinfo *info, pid_t *ret_pid) must_check;

#endif
