/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where tasks live, and the ids of what they share. A tree lives in thaw's own
 * namespaces for now, with one exception: whatever CRIU has restored, and thaw
 * after a reboot, is in a time namespace. A tree may be in one, all of it in the same.
 *
 * The numbers are those that CRIU gives: 1 to 8 stand for what is thaw's own.
 */
#include "base/cleanup.h"
#include "dump/dt.h"
#include "kern/timens.h"

enum { OUTSIDE = 1, TIME_OUTSIDE = 5, TIME_OF_TREE = 9 };

static const char *const ns_label[PROC_NSES] = {
	[PROC_NS_CGROUP] = "cgroup", [PROC_NS_IPC] = "IPC",   [PROC_NS_MNT] = "mount", [PROC_NS_NET] = "network",
	[PROC_NS_PID] = "PID",	     [PROC_NS_USER] = "user", [PROC_NS_UTS] = "UTS",
};

int namespaces_init(struct dump *d)
{
	auto_close int self = proc_open(getpid());

	return self < 0 ? self : proc_namespaces(self, 0, d->namespaces);
}

static TaskKobjIdsEntry *new_ids(struct dump *d, uint32_t own)
{
	TaskKobjIdsEntry *ids = arena_msg(d->kinds.a, task_kobj_ids_entry, TaskKobjIdsEntry);

	ids->vm_id = ids->files_id = ids->fs_id = ids->sighand_id = own;
	ids->has_pid_ns_id = ids->has_net_ns_id = ids->has_ipc_ns_id = ids->has_uts_ns_id = true;
	ids->has_mnt_ns_id = ids->has_user_ns_id = ids->has_cgroup_ns_id = ids->has_time_ns_id = true;
	ids->pid_ns_id = 1;
	ids->net_ns_id = 2;
	ids->ipc_ns_id = 3;
	ids->uts_ns_id = 4;
	ids->time_ns_id = TIME_OUTSIDE;
	ids->mnt_ns_id = 6;
	ids->user_ns_id = 7;
	ids->cgroup_ns_id = 8;
	return ids;
}

TaskKobjIdsEntry *namespaces_outside(struct dump *d)
{
	return new_ids(d, OUTSIDE);
}

static Timespec *clock_entry(struct dump *d, int64_t ns)
{
	Timespec *e = arena_msg(d->kinds.a, timespec, Timespec);

	e->tv_sec = (uint64_t)ns / 1000000000;
	e->tv_nsec = (uint64_t)ns % 1000000000;
	return e;
}

/* The tree's clocks, which are not thaw's. */
static int save_clocks(struct dump *d, const struct dump_task *t)
{
	TimensEntry *e = arena_msg(d->kinds.a, timens_entry, TimensEntry);
	struct timens now = timens_now(), own, tree;
	auto_close int self = proc_open(getpid());
	int err = self < 0 ? self : timens_offsets(self, &own);

	if (err >= 0)
		err = timens_offsets(t->proc_fd, &tree);
	if (err < 0)
		return err;
	e->monotonic = clock_entry(d, now.monotonic_ns + tree.monotonic_ns - own.monotonic_ns);
	e->boottime = clock_entry(d, now.boottime_ns + tree.boottime_ns - own.boottime_ns);
	snap_add(d->snap, IMG_TIMENS, &e->base);
	return 0;
}

static int check(const struct dump *d, const uint64_t ns[PROC_NSES])
{
	if (ns[PROC_NS_TIME] != d->namespaces[PROC_NS_TIME])
		return err_say(ENOTSUP, "it is in another time namespace than the root of the tree: this is not supported yet");
	for (size_t i = 0; i < PROC_NSES; i++)
		if (ns_label[i] && ns[i] != d->namespaces[i])
			return err_say(ENOTSUP,
				       "it is in another %s namespace than thaw: this is not supported yet (run thaw inside, with nsenter)",
				       ns_label[i]);
	return 0;
}

int namespaces_dump(struct dump *d, const struct dtask *k)
{
	const struct dump_task *t = k->t;
	int err = 0;

	if (t == d->kinds.tasks && k->ns[PROC_NS_TIME] != d->namespaces[PROC_NS_TIME]) {
		d->namespaces[PROC_NS_TIME] = k->ns[PROC_NS_TIME];
		err = save_clocks(d, t);
	}
	if (err >= 0)
		err = check(d, k->ns);
	if (err < 0)
		return err;
	t->t->ids = new_ids(d, (uint32_t)t->t->index + 2);
	if (d->snap->list[IMG_TIMENS].n)
		t->t->ids->time_ns_id = TIME_OF_TREE;
	return 0;
}
