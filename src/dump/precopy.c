/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pre-dump does with memory (two stages of dump.c): while the tree stands, find out which pages there are, and
 * let the kernel note each write to them from then on. So they may be copied while the tree runs again.
 */
#include <poll.h>

#include "base/guard.h"
#include "dump/dt.h"

int precopy_find(void *dump)
{
	struct dump *d = dump;
	int err = track_enter(d);

	remote_leave(d);
	if (err >= 0)
		err = pages_find(d);
	if (err >= 0)
		err = track_arm(d);
	return err < 0 ? err : guard_check();
}

int precopy_copy(void *dump)
{
	struct dump *d = dump;
	struct pollfd root = { .fd = d->kinds.tasks[0].pidfd, .events = POLLIN };
	int err = pages_dump(d);

	if (err >= 0)
		pages_map(d);
	if (err >= 0)
		err = guard_check();
	if (err >= 0 && poll(&root, 1, 0) > 0)
		return err_say(ESRCH, "task %d (%s) ended before all of its memory was read", d->kinds.tasks[0].pid,
			       d->kinds.tasks[0].stat.comm);
	return err;
}
