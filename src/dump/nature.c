/* SPDX-License-Identifier: Apache-2.0 */
/* What the task kinds make of a task, once all its answers are in: of its threads side by side. */
#include "dump/dt.h"

static int dump_thread(struct dump *d, struct dthread *th, struct arena *a)
{
	struct dumping kinds = d->kinds;

	kinds.a = a;
	for (size_t j = 0; kind_tasks[j]; j++) {
		int err = kind_tasks[j]->dump_thread ? kind_tasks[j]->dump_thread(&kinds, th->th, th->asked[j]) : 0;

		if (err < 0)
			return err_ctx(err, "thread %d: %s", th->th->tid, kind_tasks[j]->name);
	}
	return 0;
}

static int dump_task(struct dump *d, const struct dtask *k)
{
	for (size_t j = 0; kind_tasks[j]; j++) {
		int err = kind_tasks[j]->dump ? kind_tasks[j]->dump(&d->kinds, k->t, k->asked[j]) : 0;

		if (err < 0)
			return err_ctx(err, "task %d (%s): %s", k->t->pid, k->t->stat.comm, kind_tasks[j]->name);
	}
	return 0;
}

int nature_dump(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = dump_task(d, &d->tasks[i]);
	return err < 0 ? err : hands_threads(d, dump_thread);
}
