/* SPDX-License-Identifier: Apache-2.0 */
/* The blocks of a core entry that several task kinds fill: made by whoever comes first. */
#ifndef KIND_TASK_ENTRY_H
#define KIND_TASK_ENTRY_H

#include "base/arena.h"
#include "img/messages.h"

/* What all threads of a task share; in the leader's core only. */
static inline TaskCoreEntry *task_entry_shared(struct arena *a, CoreEntry *core)
{
	if (!core->tc)
		core->tc = arena_msg(a, task_core_entry, TaskCoreEntry);
	return core->tc;
}

static inline ThreadCoreEntry *task_entry_thread(struct arena *a, CoreEntry *core)
{
	if (!core->thread_core)
		core->thread_core = arena_msg(a, thread_core_entry, ThreadCoreEntry);
	return core->thread_core;
}

#endif
