/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dump, as a table of stages. The tree stands still from "seize" to "release"; a
 * failure anywhere runs the undos backwards and it goes on as if nothing had been.
 */
#include "dump/dump.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/script.h"
#include "base/stage.h"
#include "base/trace.h"
#include "dump/dt.h"
#include "dump/gpu_dump.h"
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
	const char *path = d->kinds.opts->images_dir;
	int err;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_set(errno, "make the directory %s", path);
	err = imgdir_open(AT_FDCWD, path, d->kinds.a, &d->kinds.dir);
	return err < 0 ? err : imgdir_begin(d->kinds.dir);
}

static void undo_open(void *ctx)
{
	struct dump *d = ctx;

	if (d->kinds.dir)
		imgdir_abort(d->kinds.dir);
}

static int stage_seize(void *ctx)
{
	struct dump *d = ctx;
	uint64_t timeout_ns = (uint64_t)d->kinds.opts->timeout * 1000000000u;
	int err;

	d->frozen_ns = trace_now_ns();
	err = seize_tree(d->kinds.opts->tree, timeout_ns, d->kinds.a, &d->seized);
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

static void done_gpu(void *ctx)
{
	gpu_dump_done(ctx);
}

static int stage_facts(void *ctx)
{
	struct dump *d = ctx;
	int err = files_init(d);

	return checked(err < 0 ? err : facts_collect(d));
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
		remote_leave(d);
	return err;
}

static int stage_mappings(void *ctx)
{
	return checked(mappings_dump(ctx));
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
	int err = checked(pages_dump(ctx));

	return err < 0 ? err : checked(sharing_dump(ctx));
}

static void make_run_id(struct dump *d, InventoryEntry *inv)
{
	uint8_t b[16] = { 0 };

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return;
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	inv->dump_criu_run_id = arena_printf(
		d->kinds.a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
		b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static void make_inventory(struct dump *d)
{
	InventoryEntry *inv = arena_msg(d->kinds.a, inventory_entry, InventoryEntry);

	inv->img_version = 2;
	inv->has_fdinfo_per_id = inv->fdinfo_per_id = true;
	inv->root_ids = namespaces_outside(d);
	inv->has_ns_per_id = inv->ns_per_id = true;
	inv->has_lsmtype = true;
	inv->lsmtype = LSMTYPE__NO_LSM;
	inv->has_network_lock_method = true;
	inv->plugins_entry = arena_msg(d->kinds.a, plugins_entry, PluginsEntry);
	if (gpu_note(d)) /* CRIU needs its own for them */
		arena_add(d->kinds.a, &inv->plugins_entry->plugins, &inv->plugins_entry->n_plugins,
			  arena_strdup(d->kinds.a, SNAP_CUDA_PLUGIN));
	make_run_id(d, inv);
	if (d->kinds.opts->tcp_close)
		inv->has_tcp_close = inv->tcp_close = true;
	d->snap->inventory = inv;
}

static int write_stats(struct dump *d)
{
	auto_close int dir = open(d->kinds.opts->work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DumpStatsEntry ds = DUMP_STATS_ENTRY__INIT;
	StatsEntry e = STATS_ENTRY__INIT;
	uint64_t now = trace_now_ns();

	if (dir < 0)
		return err_set(errno, "open %s", d->kinds.opts->work_dir);
	ds.freezing_time = (uint32_t)((d->thawed_ns - d->frozen_ns) / 1000);
	ds.frozen_time = (uint32_t)((now - d->frozen_ns) / 1000);
	ds.memdump_time = (uint32_t)(d->memory_ns / 1000);
	ds.memwrite_time = (uint32_t)(d->memory_ns / 1000);
	ds.pages_scanned = d->pages_read;
	ds.pages_written = d->pages_written;
	ds.has_irmap_resolve = ds.has_shpages_scanned = ds.has_shpages_skipped_parent = ds.has_shpages_written = true;
	ds.shpages_scanned = d->shpages_read;
	ds.shpages_written = d->shpages_written;
	e.dump = &ds;
	return img_write_one(dir, IMG_STATS_DUMP, 0, &e.base);
}

static int stage_post_dump(void *ctx)
{
	struct dump *d = ctx;

	return checked(script_run_all(d->kinds.opts, "post-dump", d->kinds.opts->tree));
}

static int stage_save(void *ctx)
{
	struct dump *d = ctx;
	int err;

	make_inventory(d);
	err = checked(snap_save(d->snap, d->kinds.dir));
	if (err >= 0)
		err = write_stats(d);
	if (err < 0)
		return err;
	guard_too_late();
	return imgdir_commit(d->kinds.dir, d->snap->inventory);
}

static int stage_release(void *ctx)
{
	struct dump *d = ctx;
	const struct opts *o = d->kinds.opts;

	if (o->leave_running || o->leave_stopped)
		facts_begin_again(d);
	if (o->leave_stopped)
		gpu_dump_give_back(d, true);
	seize_release(d->seized, o->leave_running ? 0 : o->leave_stopped ? SIGSTOP : SIGKILL);
	d->seized = NULL;
	if (o->leave_running)
		gpu_dump_give_back(d, false);
	return 0;
}

static const struct stage stages[] = {
	{ "open", stage_open, undo_open, NULL },
	{ "pre-dump", stage_pre_dump, NULL, NULL },
	{ "seize", stage_seize, undo_seize, NULL },
	{ "gpu", stage_gpu, NULL, done_gpu },
	{ "facts", stage_facts, NULL, done_facts },
	{ "ask", stage_ask, undo_ask, NULL },
	{ "nature", stage_nature, NULL, NULL },
	{ "mappings", stage_mappings, NULL, NULL },
	{ "files", stage_files, undo_files, done_files },
	{ "pages", stage_pages, NULL, NULL },
	{ "post-dump", stage_post_dump, NULL, NULL },
	{ "save", stage_save, NULL, NULL },
	{ "release", stage_release, NULL, NULL },
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
	struct dump d = { .snap = s, .undo = { .a = s->a }, .start_ns = trace_now_ns(), .ledger = job->ledger };
	int err;

	d.kinds = (struct dumping){ .opts = o, .snap = s, .a = s->a, .undo = &d.undo };
	err = stage_run_all(stages, ARRAY_LEN(stages), &d);
	if (err >= 0 && o->display_stats)
		printf("Dumped %lu pages (%.2f GiB) in %.3f s\n", (unsigned long)(d.pages_written + d.shpages_written),
		       (double)(d.pages_written + d.shpages_written) * SNAP_PAGE / (1 << 30),
		       (double)(trace_now_ns() - d.start_ns) / 1e9);
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
	if (err == -ECHILD) { /* the engine was killed, whose undos would have done it */
		char why[512];

		snprintf(why, sizeof(why), "%s", err_text());
		gpu_rescue(job.ledger, NULL, NULL);
		gpu_rescue_unmask(job.ledger);
		err = err_adopt(-err, why);
	}
	return err;
}
