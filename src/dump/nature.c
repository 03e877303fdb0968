/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds make of tasks and threads, once all answers are in. Of a thousand threads nearly all need nothing more
 * from ptrace: a crew makes their cores, while the tracers put all threads back and make the cores of the others (each
 * leader, threads with pending signals).
 */
#include "dump/dt.h"

static int dump_thread(struct dump *d, struct dthread *th, struct arena *a)
{
	struct dumping kinds = d->kinds;
	int err = questions_answered(th);

	if (err >= 0)
		err = facts_registers(d, th, a);

	kinds.a = a;
	for (size_t j = 0; err >= 0 && kind_tasks[j]; j++)
		if (kind_tasks[j]->dump_thread)
			err = err_ctx(kind_tasks[j]->dump_thread(&kinds, th->th, th->asked[j]), "thread %d: %s",
				      th->th->tid, kind_tasks[j]->name);
	return err;
}

static bool is_traced(const struct dthread *th)
{
	for (size_t j = 0; kind_tasks[j]; j++)
		if (kind_tasks[j]->traces_thread && kind_tasks[j]->traces_thread(th->th, th->asked[j]))
			return true;
	return false;
}

static int dump_traced(struct dump *d, struct dthread *th, struct arena *a)
{
	return is_traced(th) ? dump_thread(d, th, a) : 0;
}

static int dump_other(struct dump *d, struct dthread *th, struct arena *a)
{
	return is_traced(th) ? 0 : dump_thread(d, th, a);
}

static int dump_task(struct dump *d, const struct dtask *k)
{
	int err = questions_answered(&k->threads[0]);

	for (size_t j = 0; err >= 0 && kind_tasks[j]; j++)
		if (kind_tasks[j]->dump)
			err = err_ctx(kind_tasks[j]->dump(&d->kinds, k->t, k->asked[j]), "%s", kind_tasks[j]->name);
	return err_ctx(err, "task %d (%s)", k->t->pid, k->t->stat.comm);
}

int nature_dump(struct dump *d)
{
	struct crew *crew;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < d->kinds.ntasks; i++)
		err = dump_task(d, &d->tasks[i]);
	if (err < 0)
		return err;
	crew = hands_crew(d, dump_other);
	err = remote_put_back(d);
	if (err >= 0)
		err = hands_threads(d, dump_traced);
	if (err >= 0)
		return crew_finish(crew);
	crew_cancel(crew);
	return err;
}
