/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tasks have in common (check.h). An id in ids-PID.img stands for one
 * kernel object, so equal ids mean one object and different ids two; 0 says
 * that it was not recorded.
 *
 * Namespaces: all tasks must be in those of the dump itself (the inventory's
 * root_ids); the time namespace may be another one, the same for all of them.
 * Memory, descriptor tables and the like: every task its own, as fork() makes
 * them; with CLONE_VM and its relatives two tasks have one.
 */
#include "snap/check.h"

#include <stddef.h>
#include <stdlib.h>

static const struct {
	const char *name;
	size_t has, id; /* offsets in TaskKobjIdsEntry */
} namespaces[] = {
#define NS(name) { #name, offsetof(TaskKobjIdsEntry, has_##name##_ns_id), offsetof(TaskKobjIdsEntry, name##_ns_id) }
	NS(pid), NS(net), NS(ipc), NS(uts), NS(mnt), NS(user), NS(cgroup), NS(time),
#undef NS
};

static const struct {
	const char *what;
	size_t id;
} objects[] = {
	{ "its memory (CLONE_VM)", offsetof(TaskKobjIdsEntry, vm_id) },
	{ "its descriptor table (CLONE_FILES)", offsetof(TaskKobjIdsEntry, files_id) },
	{ "its root and working directory (CLONE_FS)", offsetof(TaskKobjIdsEntry, fs_id) },
	{ "its signal handlers (CLONE_SIGHAND)", offsetof(TaskKobjIdsEntry, sighand_id) },
};

static uint32_t id_at(const TaskKobjIdsEntry *e, size_t off)
{
	return *(const uint32_t *)((const char *)e + off);
}

static bool has_at(const TaskKobjIdsEntry *e, size_t off)
{
	return *(const protobuf_c_boolean *)((const char *)e + off);
}

static bool differ(const TaskKobjIdsEntry *a, const TaskKobjIdsEntry *b, size_t has, size_t id)
{
	return has_at(a, has) && has_at(b, has) && id_at(a, id) && id_at(b, id) && id_at(a, id) != id_at(b, id);
}

static int check_namespaces(const TaskKobjIdsEntry *outside, const struct snap_task *t)
{
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++)
		if (differ(outside, t->ids, namespaces[i].has, namespaces[i].id))
			return err_say(ENOTSUP, "task %u (%s) is in a namespace of its own (%s): not supported yet",
				       t->pst->pid, snap_comm(t), namespaces[i].name);
	return 0;
}

struct owner {
	uint32_t id;
	const struct snap_task *t;
};

static int by_id(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->t->index > y->t->index) - (x->t->index < y->t->index);
}

static int check_own(const struct snap *s, struct owner *v, size_t object)
{
	size_t n = 0;

	for (size_t i = 0; i < s->ntasks; i++)
		if (s->tasks[i]->ids)
			v[n++] = (struct owner){ id_at(s->tasks[i]->ids, objects[object].id), s->tasks[i] };
	qsort(v, n, sizeof(*v), by_id);
	for (size_t i = 1; i < n; i++)
		if (v[i].id && v[i].id == v[i - 1].id)
			return err_say(ENOTSUP, "task %u (%s) shares %s with task %u: not supported yet",
				       v[i].t->pst->pid, snap_comm(v[i].t), objects[object].what, v[i - 1].t->pst->pid);
	return 0;
}

int check_share(const struct snap *s)
{
	struct owner *v = arena_alloc(s->a, s->ntasks * sizeof(*v) + 1);
	/* the first task is the root: it lives, so it has ids */
	TaskKobjIdsEntry home = s->inventory->root_ids ? *s->inventory->root_ids : *s->tasks[0]->ids;
	int r = 0;

	home.time_ns_id = s->tasks[0]->ids->time_ns_id;
	for (size_t i = 0; r >= 0 && i < s->ntasks; i++)
		if (s->tasks[i]->ids)
			r = check_namespaces(&home, s->tasks[i]);
	for (size_t k = 0; r >= 0 && k < sizeof(objects) / sizeof(objects[0]); k++)
		r = check_own(s, v, k);
	return r;
}
