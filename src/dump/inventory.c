/* SPDX-License-Identifier: Apache-2.0 */
/* The two files that tell of the dump itself: inventory.img, without which a directory is no image, and stats-dump. */
#include "dump/inventory.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "dump/dt.h"
#include "dump/gpu_dump.h"

/* inventory_entry.pre_dump_mode (wire format): memory was read while the tree ran. */
enum { PRE_DUMP_READ = 2 };

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

void inventory_make(struct dump *d)
{
	InventoryEntry *inv = arena_msg(d->kinds.a, inventory_entry, InventoryEntry);

	inv->img_version = SNAP_VERSION;
	inv->has_fdinfo_per_id = inv->fdinfo_per_id = true;
	inv->root_ids = namespaces_outside(d);
	inv->has_pre_dump_mode = d->memory_only;
	inv->pre_dump_mode = d->memory_only ? PRE_DUMP_READ : 0;
	inv->has_ns_per_id = inv->ns_per_id = true;
	inv->has_lsmtype = true;
	inv->lsmtype = LSMTYPE__NO_LSM;
	inv->has_network_lock_method = true;
	inv->plugins_entry = arena_msg(d->kinds.a, plugins_entry, PluginsEntry);
	if (!d->memory_only && gpu_note(d, inv->plugins_entry))
		inv->img_version = SNAP_VERSION_GPU;
	make_run_id(d, inv);
	if (d->kinds.opts->tcp_close)
		inv->has_tcp_close = inv->tcp_close = true;
	d->snap->inventory = inv;
}

static int open_work_dir(const struct dump *d)
{
	return open(d->kinds.opts->work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void inventory_stats_remove(void *dump)
{
	const struct dump *d = dump;
	auto_close int dir = d->stats ? open_work_dir(d) : -1;

	if (dir >= 0)
		unlinkat(dir, "stats-dump", 0);
}

int inventory_stats(struct dump *d)
{
	auto_close int dir = open_work_dir(d);
	DumpStatsEntry ds = DUMP_STATS_ENTRY__INIT;
	StatsEntry e = STATS_ENTRY__INIT;
	uint64_t until = d->released_ns ? d->released_ns : trace_now_ns();

	if (dir < 0)
		return err_set(errno, "open %s", d->kinds.opts->work_dir);
	ds.freezing_time = (uint32_t)((d->thawed_ns - d->frozen_ns) / 1000);
	ds.frozen_time = (uint32_t)((until - d->frozen_ns) / 1000);
	ds.memdump_time = (uint32_t)(d->memory_ns / 1000);
	ds.memwrite_time = (uint32_t)(d->memory_ns / 1000);
	ds.pages_scanned = d->pages_read + d->pages_parent;
	ds.pages_skipped_parent = d->pages_parent;
	ds.pages_written = d->pages_written;
	ds.has_irmap_resolve = ds.has_shpages_scanned = ds.has_shpages_skipped_parent = ds.has_shpages_written = true;
	ds.shpages_scanned = d->shpages_read;
	ds.shpages_written = d->shpages_written;
	e.dump = &ds;
	d->stats = true;
	return img_write_one(dir, IMG_STATS_DUMP, 0, &e.base);
}
