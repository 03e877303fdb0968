/* SPDX-License-Identifier: Apache-2.0 */
/* Statistics of a restore (stats.h), and the rows of the timeline that only the board knows. */
#include "restore/stats.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"

/* One row for each page worker; a task that filled its memory itself has said it all. */
static void trace_workers(const struct restore *r, const struct rtask *k)
{
	const struct pie_fill *f = k->t && r->fills ? r->fills[k->t->index] : NULL;
	uint64_t ahead = (uint64_t)r->clock_ahead_ns;

	for (uint32_t i = 0; f && i < f->nworkers; i++) {
		const struct pie_span *s = (const struct pie_span *)f->spans_va + i;
		char name[32];

		if (!s->to_ns)
			continue;
		snprintf(name, sizeof(name), "page worker %u", i);
		trace_name(k->pid, (int)s->tid, name);
		trace_span("read pages", k->pid, (int)s->tid, s->from_ns - ahead, s->to_ns - ahead, s->bytes);
	}
}

static void trace_tasks(const struct restore *r)
{
	for (size_t i = 0; i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];
		const struct pie_task *b = &r->board->task[i];

		if (!b->fill_to_ns)
			continue;
		trace_name(k->pid, 0, snap_comm(k->t));
		trace_name(k->pid, k->pid, "task");
		trace_span("fill memory", k->pid, k->pid, b->fill_from_ns - (uint64_t)r->clock_ahead_ns,
			   b->fill_to_ns - (uint64_t)r->clock_ahead_ns, snap_chain_bytes(&k->t->pages));
		trace_workers(r, k);
	}
}

void stats_write(const struct restore *r)
{
	uint64_t now = trace_now_ns();
	RestoreStatsEntry re = RESTORE_STATS_ENTRY__INIT;
	StatsEntry e = STATS_ENTRY__INIT;
	auto_close int dir = open(r->kinds.opts->work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	re.forking_time = (uint32_t)((r->forked_ns - r->start_ns) / 1000);
	re.restore_time = (uint32_t)((now - r->start_ns) / 1000);
	re.has_pages_restored = 1;
	re.pages_restored = (r->fill_bytes + r->shmem_bytes) / SNAP_PAGE;
	e.restore = &re;
	if (dir < 0 || img_write_one(dir, IMG_STATS_RESTORE, 0, &e.base) < 0)
		log_warn("stats-restore could not be written: %s", err_text());
	trace_tasks(r);
	if (r->kinds.opts->display_stats)
		printf("Restored %lu pages (%.2f GiB) of %zu tasks in %.3f s, %.3f s of it until the first fork\n",
		       (unsigned long)re.pages_restored, (double)re.pages_restored * SNAP_PAGE / (1 << 30), r->tree.n,
		       re.restore_time / 1e6, re.forking_time / 1e6);
}
