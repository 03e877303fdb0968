/* SPDX-License-Identifier: Apache-2.0 */
/* What the task kinds make of a task, once all its answers are in. */
#include "dump/dt.h"

static int dump_kind(struct dump *d, struct dtask *k, size_t j)
{
	const struct kind_task *kind = kind_tasks[j];
	int err = kind->dump ? kind->dump(&d->kinds, k->t, k->asked[j]) : 0;

	if (err < 0)
		return err_ctx(err, "%s", kind->name);
	for (size_t i = 0; kind->dump_thread && i < k->t->nthreads; i++) {
		err = kind->dump_thread(&d->kinds, k->threads[i].th, k->threads[i].asked[j]);
		if (err < 0)
			return err_ctx(err, "thread %d: %s", k->threads[i].th->tid, kind->name);
	}
	return 0;
}

int nature_dump(struct dump *d)
{
	for (size_t i = 0; i < d->kinds.ntasks; i++)
		for (size_t j = 0; kind_tasks[j]; j++) {
			int err = dump_kind(d, &d->tasks[i], j);

			if (err < 0)
				return err_ctx(err, "task %d (%s)", d->tasks[i].t->pid, d->tasks[i].t->stat.comm);
		}
	return 0;
}
