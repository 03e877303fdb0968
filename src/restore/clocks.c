/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLOCK_MONOTONIC and CLOCK_BOOTTIME start anew with every boot, and programs
 * keep deadlines in them: on another machine or after a reboot they would wait for days.
 * The image says what the tree's clocks showed. A tree whose clocks would go
 * back, and one that came out of a time namespace, gets a time namespace in
 * which they go on from there. Any other sees them jump by the time that it was
 * away, as after a suspend: that needs nothing, and costs a program nothing.
 *
 * Without privilege for it or in an old kernel the tree comes back all the same, with a warning.
 */
#include "restore/clocks.h"

#include <inttypes.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "kern/proc.h"
#include "kern/timens.h"

static int clock_of(const Timespec *t, int64_t *ret_ns)
{
	if (t->tv_sec > INT64_MAX / 2000000000 || t->tv_nsec >= 1000000000)
		return err_say(EINVAL, "timens.img: a clock of %" PRIu64 " s %" PRIu64 " ns", t->tv_sec, t->tv_nsec);
	*ret_ns = (int64_t)(t->tv_sec * 1000000000 + t->tv_nsec);
	return 0;
}

static int saved_clocks(const struct snap *s, struct timens *ret_then)
{
	const TimensEntry *e = (const TimensEntry *)s->list[IMG_TIMENS].v[0].msg;
	int err = clock_of(e->monotonic, &ret_then->monotonic_ns);

	return err < 0 ? err : clock_of(e->boottime, &ret_then->boottime_ns);
}

int clocks_set(struct restore *r, int *ret_fd)
{
	auto_close int self = -1;
	struct timens now = timens_now(), own = { 0 }, then;
	int err;

	*ret_fd = -1;
	if (!r->snap->list[IMG_TIMENS].n)
		return 0;
	err = saved_clocks(r->snap, &then);
	if (err < 0)
		return err;
	if (!snap_timens(r->snap) && now.monotonic_ns >= then.monotonic_ns && now.boottime_ns >= then.boottime_ns)
		return 0;
	self = proc_open(getpid());
	err = self < 0 ? self : timens_offsets(self, &own);
	if (err < 0)
		return err;
	r->clock_ahead_ns = then.monotonic_ns - now.monotonic_ns;
	own.monotonic_ns += then.monotonic_ns - now.monotonic_ns;
	own.boottime_ns += then.boottime_ns - now.boottime_ns;
	*ret_fd = timens_enter(&own);
	if (*ret_fd < 0) {
		r->clock_ahead_ns = 0;
		log_warn("the monotonic clock jumps by %" PRId64 " ms: %s",
			 (now.monotonic_ns - then.monotonic_ns) / 1000000, err_text());
		*ret_fd = -1;
		return 0;
	}
	log_info("a time namespace: the monotonic clock goes on from %" PRId64 " ms", then.monotonic_ns / 1000000);
	return 0;
}
