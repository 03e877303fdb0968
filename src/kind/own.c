/* SPDX-License-Identifier: Apache-2.0 */
/* What tasks start with (own.h). */
#include "kind/own.h"

#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "kern/proc.h"

enum { PERSONALITY_QUERY = -1 };

static int read_proc(struct own *o)
{
	auto_close int fd = proc_open(getpid());
	int r = fd;

	if (r >= 0)
		r = proc_oom_score_adj(fd, &o->oom_score_adj);
	if (r >= 0)
		r = proc_coredump_filter(fd, &o->coredump_filter);
	return r < 0 ? r : proc_loginuid(fd, &o->loginuid);
}

int own_read(struct own *ret)
{
	struct own o = {
		.nice = getpriority(PRIO_PROCESS, 0),
		.sched_policy = sched_getscheduler(0),
		.personality = (uint32_t)personality((unsigned long)PERSONALITY_QUERY),
		.timerslack_ns = (uint64_t)prctl(PR_GET_TIMERSLACK),
		.no_thp = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) > 0,
	};
	struct stat root;
	int r;

	if (stat("/", &root) < 0)
		return err_set(errno, "stat /");
	o.root_dev = root.st_dev;
	o.root_ino = root.st_ino;
	r = read_proc(&o);
	if (r >= 0)
		r = xsave_layout_read(&o.xsave);
	if (r >= 0)
		*ret = o;
	return r;
}
