/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timerfd: a clock, a time left and expirations that nobody has read.
 *
 * The wire holds the time left, for absolute timers too: time stands still for
 * a frozen tree. An absolute timer is armed at "now + left" with its flag, so it
 * still follows (or is cancelled by) a change of the clock.
 *
 * A periodic timer that has expired stands still until somebody reads it or asks
 * for its time: fdinfo shows nothing left then, and arming it with that would
 * disarm it. So dump asks, which is what moves it on, and nothing is lost: the
 * periods that have passed are added to the ticks.
 *
 * A relative timer is armed once more by the task that holds it, after its memory
 * is filled, so that the time a restore takes does not count.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include "base/cleanup.h"
#include "kind/description.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

enum {
	NSEC_PER_SEC = 1000000000,
	SETTIME_FLAGS = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
};
static const int64_t KTIME_SEC_MAX = INT64_MAX / NSEC_PER_SEC - 1;

static bool timerfd_match(const struct fd_facts *f)
{
	return !strcmp(f->link, "anon_inode:[timerfd]");
}

static int ask(struct dumping *d, const struct fd_facts *f, struct fdinfo_timerfd *ret)
{
	struct fd_facts own = *f;
	struct itimerspec now;
	struct fdinfo info;
	int err;

	err = description_info(d, f, &info);
	if (err >= 0)
		err = fdinfo_timerfd(&info, ret);
	if (err < 0 || ret->value_sec || ret->value_nsec || !(ret->interval_sec || ret->interval_nsec))
		return err;
	/* expired and periodic, or disarmed: asking moves the former on */
	if (timerfd_gettime(f->fd, &now) < 0)
		return err_set(errno, "timerfd_gettime()");
	own.fdinfo = "";
	err = description_info(d, &own, &info);
	if (err >= 0)
		err = fdinfo_timerfd(&info, ret);
	if (err < 0)
		return err;
	ret->value_sec = (uint64_t)now.it_value.tv_sec;
	ret->value_nsec = (uint64_t)now.it_value.tv_nsec;
	return 0;
}

static int timerfd_dump(struct dumping *d, const struct fd_facts *f, FileEntry *e)
{
	TimerfdEntry *tfd = arena_msg(d->a, timerfd_entry, TimerfdEntry);
	struct fdinfo_timerfd now;
	int err = ask(d, f, &now);

	if (err < 0)
		return err;
	tfd->id = e->id;
	tfd->flags = f->flags;
	tfd->clockid = (uint32_t)now.clockid;
	tfd->ticks = now.ticks;
	tfd->settime_flags = now.settime_flags;
	tfd->vsec = now.value_sec;
	tfd->vnsec = now.value_nsec;
	tfd->isec = now.interval_sec;
	tfd->insec = now.interval_nsec;
	tfd->fown = dumping_fown(d, f->fd);
	e->tfd = tfd;
	return 0;
}

static int timerfd_check(struct restoring *r, const FileEntry *e)
{
	const TimerfdEntry *t = e->tfd;

	(void)r;
	if (!t)
		return err_say(EINVAL, "the entry has no timerfd in it");
	if (t->vnsec >= NSEC_PER_SEC || t->insec >= NSEC_PER_SEC || t->vsec > INT64_MAX || t->isec > INT64_MAX)
		return err_say(EINVAL, "%" PRIu64 ".%09" PRIu64 " s every %" PRIu64 ".%09" PRIu64 " s is no time",
			       t->vsec, t->vnsec, t->isec, t->insec);
	return 0;
}

/* What is left, as timerfd_settime() takes it. */
static struct itimerspec left(const TimerfdEntry *t)
{
	struct itimerspec its = {
		.it_value = { .tv_sec = (time_t)t->vsec, .tv_nsec = (long)t->vnsec },
		.it_interval = { .tv_sec = (time_t)t->isec, .tv_nsec = (long)t->insec },
	};

	/* expired, and the next period has not begun: only an expiry brings it there */
	if (!t->vsec && !t->vnsec && t->ticks && (t->isec || t->insec))
		its.it_value.tv_nsec = 1;
	return its;
}

static bool armed(const struct itimerspec *its)
{
	return its->it_value.tv_sec || its->it_value.tv_nsec;
}

/* Time left -> a time of the clock. */
static int make_absolute(const TimerfdEntry *t, struct itimerspec *its)
{
	struct timespec now;

	if (clock_gettime((clockid_t)t->clockid, &now) < 0)
		return err_set(errno, "read clock %u", t->clockid);
	its->it_value.tv_nsec += now.tv_nsec;
	if (its->it_value.tv_sec > KTIME_SEC_MAX - now.tv_sec)
		its->it_value.tv_sec = KTIME_SEC_MAX - now.tv_sec;
	its->it_value.tv_sec += now.tv_sec + its->it_value.tv_nsec / NSEC_PER_SEC;
	its->it_value.tv_nsec %= NSEC_PER_SEC;
	return 0;
}

static int arm(int fd, const TimerfdEntry *t)
{
	int flags = (int)t->settime_flags & SETTIME_FLAGS;
	struct itimerspec its = left(t);
	uint64_t ticks = t->ticks;
	int err = (flags & TFD_TIMER_ABSTIME) && armed(&its) ? make_absolute(t, &its) : 0;

	if (err < 0)
		return err;
	if (timerfd_settime(fd, flags, &its, NULL) < 0)
		return err_set(errno, "timerfd_settime()");
	if (ticks && ioctl(fd, TFD_IOC_SET_TICKS, &ticks) < 0)
		return err_set(errno, "set %" PRIu64 " ticks", ticks);
	return 0;
}

static int timerfd_open(struct restoring *r, const FileEntry *e)
{
	auto_close int fd = timerfd_create((clockid_t)e->tfd->clockid, TFD_CLOEXEC);
	int err;

	(void)r;
	if (fd < 0)
		return err_set(errno, "timerfd_create(%u)", e->tfd->clockid);
	err = arm(fd, e->tfd);
	if (err >= 0)
		err = description_flags(fd, e->tfd->flags);
	return err < 0 ? err : take_fd(&fd);
}

static int timerfd_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p)
{
	const TimerfdEntry *t = e->tfd;
	struct itimerspec its = left(t);

	(void)r;
	description_owner(t->fown, tfd, p);
	if (!armed(&its) || (t->settime_flags & TFD_TIMER_ABSTIME))
		return 0;
	prog_label(p, "fd %d: arm timerfd", tfd);
	prog_sys(p, SYS_timerfd_settime, (uint64_t)tfd, t->settime_flags & SETTIME_FLAGS,
		 prog_data(p->space, &its, sizeof(its)), 0);
	if (t->ticks)
		prog_sys(p, SYS_ioctl, (uint64_t)tfd, TFD_IOC_SET_TICKS,
			 prog_data(p->space, &t->ticks, sizeof(t->ticks)));
	return 0;
}

static void timerfd_describe(const FileEntry *e, char *text, size_t len)
{
	const TimerfdEntry *t = e->tfd;

	if (t)
		snprintf(text, len, "clock %u, %" PRIu64 ".%03" PRIu64 " s left, every %" PRIu64 ".%03" PRIu64 " s, %" PRIu64 " ticks",
			 t->clockid, t->vsec, t->vnsec / 1000000, t->isec, t->insec / 1000000, t->ticks);
}

const struct kind_fd kind_fd_timerfd = {
	.name = "timerfd",
	.type = FD_TYPES__TIMERFD,
	.match = timerfd_match,
	.dump = timerfd_dump,
	.check = timerfd_check,
	.open = timerfd_open,
	.emit = timerfd_emit,
	.describe = timerfd_describe,
};
