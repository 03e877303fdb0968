/* SPDX-License-Identifier: Apache-2.0 */
/* What each kind of file adds to its fdinfo (fdinfo.h). */
#include <string.h>

#include "base/cleanup.h"
#include "kern/fdinfo.h"
#include "kern/procfile.h"

static int nonsense(const char *kind)
{
	return err_say(EINVAL, "the fdinfo of this %s makes no sense", kind);
}

/* Scans the value of the first line `key`. */
static bool line_u64(const struct fdinfo *info, const char *key, unsigned int base, uint64_t *ret)
{
	const char *cursor = info->rest, *p = fdinfo_next(&cursor, key);

	return p && scan_u64(&p, base, ret);
}

int fdinfo_eventfd(const struct fdinfo *info, struct fdinfo_eventfd *ret)
{
	struct fdinfo_eventfd e = { 0 };
	uint64_t semaphore = 0;

	if (!line_u64(info, "eventfd-count:", 16, &e.count))
		return nonsense("eventfd");
	e.has_semaphore = line_u64(info, "eventfd-semaphore:", 10, &semaphore);
	e.semaphore = semaphore != 0;
	*ret = e;
	return 0;
}

int fdinfo_signalfd(const struct fdinfo *info, uint64_t *ret_mask)
{
	return line_u64(info, "sigmask:", 16, ret_mask) ? 0 : nonsense("signalfd");
}

/* "(sec, nsec)" */
static bool scan_time(const struct fdinfo *info, const char *key, uint64_t *sec, uint64_t *nsec)
{
	const char *cursor = info->rest, *p = fdinfo_next(&cursor, key);

	return p && scan_word(&p, "(") && scan_u64(&p, 10, sec) && scan_word(&p, ",") && scan_u64(&p, 10, nsec) &&
	       scan_word(&p, ")") && *nsec < 1000000000;
}

int fdinfo_timerfd(const struct fdinfo *info, struct fdinfo_timerfd *ret)
{
	struct fdinfo_timerfd t = { 0 };
	uint64_t clockid, flags;

	if (!line_u64(info, "clockid:", 10, &clockid) || clockid > 64 || !line_u64(info, "ticks:", 10, &t.ticks) ||
	    !line_u64(info, "settime flags:", 8, &flags) || flags > UINT32_MAX ||
	    !scan_time(info, "it_value:", &t.value_sec, &t.value_nsec) ||
	    !scan_time(info, "it_interval:", &t.interval_sec, &t.interval_nsec))
		return nonsense("timerfd");
	t.clockid = (int)clockid;
	t.settime_flags = (uint32_t)flags;
	*ret = t;
	return 0;
}

int fdinfo_epoll_next(const char **cursor, struct fdinfo_epoll *ret)
{
	const char *p = fdinfo_next(cursor, "tfd:");
	struct fdinfo_epoll e = { 0 };
	int64_t pos = 0;

	if (!p)
		return 0;
	if (!scan_int(&p, &e.tfd) || !scan_word(&p, "events:") || !scan_u32(&p, 16, &e.events) ||
	    !scan_word(&p, "data:") || !scan_u64(&p, 16, &e.data) || !scan_word(&p, "pos:") || !scan_i64(&p, &pos) ||
	    !scan_word(&p, "ino:") || !scan_u64(&p, 16, &e.ino) || !scan_word(&p, "sdev:") ||
	    !scan_u32(&p, 16, &e.sdev))
		return nonsense("epoll");
	e.pos = (uint64_t)pos;
	*ret = e;
	return 1;
}

static bool scan_handle(const char *p, struct fdinfo_inotify *w)
{
	for (uint32_t i = 0; i < w->handle_len; i++) {
		char two[3] = { p[0], p[0] ? p[1] : '\0', '\0' };
		const char *at = two;
		uint64_t byte;

		if (!scan_u64(&at, 16, &byte) || at != two + 2)
			return false;
		w->handle[i] = (uint8_t)byte;
		p += 2;
	}
	return true;
}

int fdinfo_inotify_next(const char **cursor, struct fdinfo_inotify *ret)
{
	const char *p = fdinfo_next(cursor, "inotify wd:");
	struct fdinfo_inotify w = { 0 };
	uint32_t wd;

	if (!p)
		return 0;
	if (!scan_u32(&p, 16, &wd) || !scan_word(&p, "ino:") || !scan_u64(&p, 16, &w.ino) || !scan_word(&p, "sdev:") ||
	    !scan_u32(&p, 16, &w.sdev) || !scan_word(&p, "mask:") || !scan_u32(&p, 16, &w.mask) ||
	    !scan_word(&p, "ignored_mask:") || !scan_u32(&p, 16, &w.ignored_mask))
		return nonsense("inotify");
	w.wd = (int)wd;
	/* file systems without handles leave the rest out */
	if (scan_word(&p, "fhandle-bytes:") &&
	    (!scan_u32(&p, 16, &w.handle_len) || w.handle_len > sizeof(w.handle) || !scan_word(&p, "fhandle-type:") ||
	     !scan_u32(&p, 16, &w.handle_type) || !scan_word(&p, "f_handle:") || !scan_handle(p, &w)))
		return nonsense("inotify");
	*ret = w;
	return 1;
}

int fdinfo_pidfd(const struct fdinfo *info, pid_t *ret_pid)
{
	const char *cursor = info->rest, *p = fdinfo_next(&cursor, "Pid:");

	return p && scan_int(&p, ret_pid) ? 0 : nonsense("pidfd");
}
