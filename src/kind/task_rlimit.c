/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits.
 *
 * Asked inside the task: from outside, prlimit() on another user's process takes
 * CAP_SYS_RESOURCE. Restored when everything else that a limit could forbid is
 * done (descriptors, memory, queued signals, timers), so limits never get in the way
 * of the restore; the engine's own limits must suffice for it.
 *
 * Raising a hard limit takes CAP_SYS_RESOURCE too. Without it (as in containers)
 * the limit is set as high as it may be and a warning says so: a program that runs
 * below its old limit serves the user better than none.
 *
 * Runs in the engine. Order in the table: after signals and timers.
 */
#include <inttypes.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "kind/kind.h"
#include "kind/task_entry.h"

struct limit {
	uint64_t cur, max;
};

struct own_limits {
	struct limit limit[RLIMIT_NLIMITS];
	bool may_raise;
	bool warned[RLIMIT_NLIMITS]; /* once a restore is enough */
};

static const char *const limit_name[RLIMIT_NLIMITS] = {
	[RLIMIT_CPU] = "cpu",	      [RLIMIT_FSIZE] = "fsize",	    [RLIMIT_DATA] = "data",
	[RLIMIT_STACK] = "stack",     [RLIMIT_CORE] = "core",	    [RLIMIT_RSS] = "rss",
	[RLIMIT_NPROC] = "nproc",     [RLIMIT_NOFILE] = "nofile",   [RLIMIT_MEMLOCK] = "memlock",
	[RLIMIT_AS] = "as",	      [RLIMIT_LOCKS] = "locks",	    [RLIMIT_SIGPENDING] = "sigpending",
	[RLIMIT_MSGQUEUE] = "msgqueue", [RLIMIT_NICE] = "nice",	    [RLIMIT_RTPRIO] = "rtprio",
	[RLIMIT_RTTIME] = "rttime",
};

static void *rlimit_ask(struct dumping *d, struct dump_task *t, struct prog *p)
{
	uint64_t va;
	struct limit *v = prog_alloc(p->space, RLIMIT_NLIMITS * sizeof(*v), &va);

	(void)d, (void)t;
	prog_label(p, "ask for resource limits");
	for (uint64_t i = 0; i < RLIMIT_NLIMITS; i++)
		prog_sys(p, SYS_prlimit64, 0, i, 0, va + i * sizeof(*v));
	return v;
}

static int rlimit_dump(struct dumping *d, struct dump_task *t, const void *asked)
{
	TaskRlimitsEntry *e = arena_msg(d->a, task_rlimits_entry, TaskRlimitsEntry);
	const struct limit *v = asked;

	for (size_t i = 0; i < RLIMIT_NLIMITS; i++) {
		RlimitEntry *x = arena_msg(d->a, rlimit_entry, RlimitEntry);

		x->cur = v[i].cur;
		x->max = v[i].max;
		arena_add(d->a, &e->rlimits, &e->n_rlimits, x);
	}
	task_entry_shared(d->a, t->threads[0].core)->rlimits = e;
	return 0;
}

static bool may_raise(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return !syscall(SYS_capget, &h, data) && data[0].effective & 1u << CAP_SYS_RESOURCE;
}

/* Tasks start with the engine's limits, as they stand when the programs are written. */
static struct own_limits *own_limits(struct restoring *r)
{
	struct own_limits *own = r->kind_state[KIND_STATE_RLIMIT];

	if (own)
		return own;
	own = r->kind_state[KIND_STATE_RLIMIT] = arena_alloc(r->a, sizeof(*own));
	own->may_raise = may_raise();
	for (int i = 0; i < RLIMIT_NLIMITS; i++)
		syscall(SYS_prlimit64, 0, i, NULL, &own->limit[i]);
	return own;
}

static struct limit as_far_as_allowed(struct own_limits *own, size_t i, const RlimitEntry *e)
{
	struct limit want = { e->cur, e->max };
	uint64_t max = own->limit[i].max;

	if (want.max <= max || own->may_raise)
		return want;
	if (!own->warned[i])
		log_warn("the hard limit %s %" PRIu64 " cannot be raised to %" PRIu64 " without CAP_SYS_RESOURCE", limit_name[i],
			 max, want.max);
	own->warned[i] = true;
	return (struct limit){ want.cur < max ? want.cur : max, max };
}

static int rlimit_check(struct restoring *r, const struct snap_task *t)
{
	const TaskRlimitsEntry *e = t->cores[0]->tc->rlimits;

	(void)r;
	if (e && e->n_rlimits > RLIMIT_NLIMITS)
		return err_say(ENOTSUP, "the image has %zu resource limits, this kernel has %d", e->n_rlimits, RLIMIT_NLIMITS);
	return 0;
}

static int rlimit_emit_late(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	const TaskRlimitsEntry *e = t->cores[0]->tc->rlimits;
	struct own_limits *own = own_limits(r);

	for (size_t i = 0; e && i < e->n_rlimits; i++) {
		struct limit want = as_far_as_allowed(own, i, e->rlimits[i]);

		if (want.cur == own->limit[i].cur && want.max == own->limit[i].max)
			continue;
		prog_label(p, "set the limit %s", limit_name[i]);
		prog_sys(p, SYS_prlimit64, 0, i, prog_data(p->space, &want, sizeof(want)), 0);
	}
	return 0;
}

const struct kind_task kind_task_rlimit = {
	.name = "limits",
	.ask = rlimit_ask,
	.dump = rlimit_dump,
	.check = rlimit_check,
	.emit_late = rlimit_emit_late,
};
