/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dump, as a table of stages. The tree stands still from "seize" to "release"; a
 * failure anywhere runs the undos backwards and it goes on as if nothing had been.
 */
#include "dump/dump.h"

#include <signal.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/io.h"
#include "base/log.h"
#include "base/script.h"
#include "base/stage.h"
#include "base/trace.h"
#include "dump/dedup.h"
#include "dump/dt.h"
#include "dump/ending.h"
#include "dump/gpu_dump.h"
#include "dump/inventory.h"
#include "dump/leftover.h"
#include "kind/shmem.h"

static int checked(int err)
{
	return err < 0 ? err : guard_check();
}

static int stage_pre_dump(void *ctx)
{
	struct dump *d = ctx;

	return script_run_all(d->kinds.opts, "pre-dump", d->kinds.opts->tree);
}

static int stage_open(void *ctx)
{
	struct dump *d = ctx;
	const struct opts *o = d->kinds.opts;
	InventoryEntry *parent;
	int err = imgdir_make(o->images_dir, o->prev_images_dir, d->kinds.a, &d->kinds.dir);

	if (err < 0 || !d->kinds.dir->parent)
		return err;
	err = img_read_one(d->kinds.dir->parent->dirfd, IMG_INVENTORY, 0, d->kinds.a, &parent);
	d->base_image = err < 0 ? NULL : parent->dump_criu_run_id;
	return err_ctx(err, "%s", d->kinds.dir->parent->path);
}

static void undo_open(void *ctx)
{
	struct dump *d = ctx;

	if (d->kinds.dir)
		imgdir_abort(d->kinds.dir);
}

static int stage_track(void *ctx)
{
	return track_begin(ctx);
}

static int stage_seize(void *ctx)
{
	struct dump *d = ctx;
	uint64_t timeout_ns = (uint64_t)d->kinds.opts->timeout * 1000000000u;
	int err;

	io_expect_fds(d->kinds.dir->dirfd);
	d->frozen_ns = trace_now_ns();
	err = seize_tree(d->kinds.opts->tree, timeout_ns, 0, d->kinds.a, &d->seized);
	d->thawed_ns = trace_now_ns();
	if (err >= 0)
		log_info("seized %zu tasks with %zu threads", d->seized->n_tasks, d->seized->n_threads);
	return checked(err);
}

static void undo_seize(void *ctx)
{
	struct dump *d = ctx;

	if (d->seized)
		facts_begin_again(d);
	seize_release(d->seized, 0);
	d->seized = NULL;
	gpu_dump_give_back(d, false);
}

static int stage_gpu(void *ctx)
{
	return checked(gpu_dump_checkpoint(ctx));
}

static int stage_facts(void *ctx)
{
	struct dump *d = ctx;
	int err = files_init(d);

	if (err >= 0)
		err = facts_collect(d);
	if (err >= 0)
		gpu_heirs_mark(d);
	return checked(err);
}

static void undo_facts(void *ctx)
{
	outside_cancel(ctx);
}

static void done_facts(void *ctx)
{
	facts_done(ctx);
}

static int stage_ask(void *ctx)
{
	return checked(questions_ask(ctx));
}

static void undo_ask(void *ctx)
{
	remote_leave(ctx);
}

static int stage_nature(void *ctx)
{
	struct dump *d = ctx;
	int err = checked(nature_dump(d));

	if (err >= 0)
		d->cores_crew = snap_save_threads(d->snap, d->kinds.dir);
	return err;
}

static void undo_nature(void *ctx)
{
	struct dump *d = ctx;

	if (d->cores_crew)
		crew_cancel(d->cores_crew);
	d->cores_crew = NULL;
}

static int stage_tracker(void *ctx)
{
	return checked(track_enter(ctx));
}

static int stage_leave(void *ctx)
{
	remote_leave(ctx);
	return 0;
}

static int stage_mappings(void *ctx)
{
	int err = outside_look_on(ctx, FLAGS_BESIDE_PAGES);

	return checked(err < 0 ? err : mappings_dump(ctx));
}

static int stage_files(void *ctx)
{
	return checked(files_dump(ctx));
}

static void undo_files(void *ctx)
{
	struct dump *d = ctx;

	undo_run(&d->undo);
}

static void done_files(void *ctx)
{
	struct dump *d = ctx;

	shmem_done(&d->kinds);
	files_done(d);
}

static int stage_pages(void *ctx)
{
	int err = checked(pages_find(ctx));

	return err < 0 ? err : checked(pages_dump(ctx));
}

static int stage_flags(void *ctx)
{
	int err = outside_seen(ctx);

	return checked(err < 0 ? err : mappings_flags(ctx));
}

static int stage_page_map(void *ctx)
{
	pages_map(ctx);
	return checked(sharing_dump(ctx));
}

/* Scripts are processes, which are made only when no helper is at work. */
static int stage_post_dump(void *ctx)
{
	struct dump *d = ctx;
	struct crew *crew = d->cores_crew;
	int err;

	d->cores_crew = NULL;
	err = crew ? crew_finish(crew) : 0;
	return err < 0 ? err : checked(script_run_all(d->kinds.opts, "post-dump", d->kinds.opts->tree));
}

static int stage_arm(void *ctx)
{
	return checked(track_arm(ctx));
}

static int stage_save(void *ctx)
{
	struct dump *d = ctx;
	int err;

	inventory_make(d);
	err = checked(d->memory_only ? snap_save_pages(d->snap, d->kinds.dir) : snap_save(d->snap, d->kinds.dir));
	if (err >= 0)
		err = inventory_stats(d);
	if (err < 0)
		return err;
	guard_too_late();
	err = imgdir_commit(d->kinds.dir, d->snap->inventory);
	if (err >= 0)
		track_keep(d);
	return err;
}

static int stage_release(void *ctx)
{
	struct dump *d = ctx;
	const struct opts *o = d->kinds.opts;

	if (o->leave_running || o->leave_stopped || d->memory_only)
		facts_begin_again(d);
	if (o->leave_stopped)
		gpu_dump_give_back(d, true);
	d->released_ns = trace_now_ns();
	if (!o->leave_running && !o->leave_stopped && !d->memory_only)
		ending_hasten(d);
	seize_release(d->seized, o->leave_running || d->memory_only ? 0 : o->leave_stopped ? SIGSTOP : SIGKILL);
	d->seized = NULL;
	if (o->leave_running)
		gpu_dump_give_back(d, false);
	return 0;
}

static int stage_dedup(void *ctx)
{
	struct dump *d = ctx;

	if (d->kinds.opts->auto_dedup && d->kinds.dir->parent)
		dedup_after(d->kinds.dir, d->kinds.a);
	return 0;
}

static const struct stage stages[] = {
	{ "open", stage_open, undo_open, NULL },
	{ "track", stage_track, NULL, track_done },
	{ "pre-dump", stage_pre_dump, NULL, NULL },
	{ "seize", stage_seize, undo_seize, NULL },
	{ "gpu", stage_gpu, NULL, gpu_dump_done },
	{ "facts", stage_facts, undo_facts, done_facts },
	{ "ask", stage_ask, undo_ask, NULL },
	{ "nature", stage_nature, undo_nature, NULL },
	{ "tracker", stage_tracker, NULL, NULL },
	{ "leave", stage_leave, NULL, NULL },
	{ "mappings", stage_mappings, NULL, NULL },
	{ "files", stage_files, undo_files, done_files },
	{ "pages", stage_pages, NULL, pages_done },
	{ "flags", stage_flags, NULL, NULL },
	{ "page-map", stage_page_map, NULL, NULL },
	{ "gpu-pages", gpu_away_wait, NULL, NULL },
	{ "post-dump", stage_post_dump, NULL, NULL },
	{ "arm", stage_arm, NULL, NULL },
	{ "save", stage_save, inventory_stats_remove, NULL },
	{ "release", stage_release, NULL, NULL },
	{ "dedup", stage_dedup, NULL, NULL },
};

static const struct stage pre_stages[] = {
	{ "open", stage_open, undo_open, NULL },
	{ "track", stage_track, NULL, track_done },
	{ "pre-dump", stage_pre_dump, NULL, NULL },
	{ "seize", stage_seize, undo_seize, NULL },
	{ "facts", stage_facts, undo_facts, done_facts },
	{ "find", precopy_find, undo_ask, pages_done },
	{ "release", stage_release, NULL, NULL },
	{ "copy", precopy_copy, NULL, NULL },
	{ "save", stage_save, inventory_stats_remove, NULL },
	{ "dedup", stage_dedup, NULL, NULL },
};

struct job {
	struct opts opts;
	struct gpu_ledger *ledger;
};

static int run(void *arg)
{
	const struct job *job = arg;
	const struct opts *o = &job->opts;
	struct snap *s = snap_new();
	struct dump d = { .snap = s, .undo = { .a = s->a }, .keeper.sock = -1, .start_ns = trace_now_ns(),
			  .ledger = job->ledger };
	int err;

	d.kinds = (struct dumping){ .opts = o, .snap = s, .a = s->a, .undo = &d.undo };
	d.memory_only = o->cmd == CMD_PRE_DUMP;
	d.tracks = d.memory_only || (o->track_mem && (o->leave_running || o->leave_stopped));
	err = d.memory_only ? stage_run_all(pre_stages, ARRAY_LEN(pre_stages), &d) :
			      stage_run_all(stages, ARRAY_LEN(stages), &d);
	if (err >= 0)
		log_info("the tree stood still for %.3f ms", (double)(d.released_ns - d.frozen_ns) / 1e6);
	if (err >= 0 && o->display_stats)
		printf("Dumped %lu pages (%.2f GiB) in %.3f s, left %lu to the parent images\n",
		       (unsigned long)(d.pages_written + d.shpages_written),
		       (double)(d.pages_written + d.shpages_written) * SNAP_PAGE / (1 << 30),
		       (double)(trace_now_ns() - d.start_ns) / 1e9, d.pages_parent);
	if (err >= 0)
		log_info("dumped %zu tasks", s->ntasks);
	return err;
}

int dump_run(const struct opts *o)
{
	struct job job = { .opts = *o, .ledger = gpu_rescue_ledger(o->gpu_socket) };
	int err;

	if (!job.ledger)
		return -ENOMEM;
	err = guard_run(run, &job, true);
	if (err != -ECHILD)
		return err;
	/* the engine was killed, whose undos would have done it */
	err = leftover_visit(o, o->tree, err);
	return gpu_rescue_orphans(job.ledger, err);
}
