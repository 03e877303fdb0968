/* SPDX-License-Identifier: Apache-2.0 */
/* Tracking of written pages (track.h). Runs in the engine's main thread. */
#include "dump/track.h"

#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "dump/dt.h"
#include "kern/feature.h"

/* Newer than the headers of Debian 12. */
enum { WP_HUGETLBFS_SHMEM = 1 << 12, WP_UNPOPULATED = 1 << 13, WP_ASYNC = 1 << 15 };

/*
 * Private pages that nobody wrote to since they were protected: there are such only where a userfaultfd watches. To
 * know file pages takes eight times as long (pagemap.h), and mappings without a file have none.
 */
static const struct pagemap_query unwritten_anon = {
	.inverted = PAGEMAP_WRITTEN | PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.all = PAGEMAP_WPALLOWED | PAGEMAP_WRITTEN | PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.any = PAGEMAP_PRESENT | PAGEMAP_SWAPPED,
}, unwritten_file = {
	.inverted = PAGEMAP_WRITTEN | PAGEMAP_FILE | PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.all = PAGEMAP_WPALLOWED | PAGEMAP_WRITTEN | PAGEMAP_FILE | PAGEMAP_PFNZERO | PAGEMAP_GUARD,
	.any = PAGEMAP_PRESENT | PAGEMAP_SWAPPED,
};

/* A mark, wherever it may come from. */
static const struct pagemap_query marked = {
	.inverted = PAGEMAP_WRITTEN,
	.all = PAGEMAP_WRITTEN,
	.any = PAGEMAP_PRESENT | PAGEMAP_SWAPPED,
};

int track_begin(struct dump *d)
{
	d->keeper.sock = -1;
	if (!d->tracks)
		return 0;
	if (!feature_has(FEATURE_UFFD_WP_ASYNC))
		return err_say(ENOTSUP, "--track-mem: this kernel's tracking of written pages cannot be trusted (thaw check: uffd-wp-async)");
	return keeper_begin(&d->keeper);
}

/* Ours already, or watched from now on; not if another userfaultfd has it, or the kernel cannot watch it. */
static bool watch(int uffd, const struct map *m)
{
	struct uffdio_register r = { .range = { m->start_va, m->end_va - m->start_va },
				     .mode = UFFDIO_REGISTER_MODE_WP };

	return !ioctl(uffd, UFFDIO_REGISTER, &r);
}

static bool is_private(const struct map *m)
{
	return !m->shared && strncmp(m->name, "[v", 2) != 0;
}

/* The kernel's own word for what is watched, where the mapping's flags were not read (they take long). */
static int watched_runs(struct dtask *k, struct pagemap_runs *ret)
{
	static const struct pagemap_query any = { .all = PAGEMAP_WPALLOWED, .any = PAGEMAP_PRESENT | PAGEMAP_SWAPPED };
	struct pagemap pm;
	int err = pagemap_open(k->t->proc_fd, &pm);

	if (err < 0)
		return err;
	err = pagemap_scan(&pm, &any, 0, MAPS_END_VA, ret);
	pagemap_close(&pm);
	return err;
}

static void trust(struct dtask *k, const struct pagemap_runs *runs)
{
	size_t at = 0;

	for (size_t i = 0; i < k->t->nmaps; i++) {
		struct map *m = &k->t->maps[i];
		bool seen = m->vm_flags & MAP_VM_BIT(MAP_VM_UW);

		while (at < runs->n && runs->run[at].end_va <= m->start_va)
			at++;
		seen |= at < runs->n && runs->run[at].start_va < m->end_va;
		k->track.watched[i] = seen && watch(k->track.uffd, m);
		if (k->track.watched[i])
			m->vm_flags &= ~MAP_VM_BIT(MAP_VM_UW);
	}
}

static bool is_of(const struct keeper_facts *f, const struct dump_task *t)
{
	return f->pid == t->pid && f->start_ticks == t->stat.start_ticks && f->start_stack_va == t->stat.start_stack_va;
}

int track_find(struct dump *d, struct dtask *k)
{
	struct pagemap_runs runs = { 0 };
	struct track *t = &k->track;
	int err;

	t->watched = arena_alloc(d->kinds.a, k->t->nmaps * sizeof(bool) + 1);
	err = keeper_find(k->t->pid, &t->lease);
	t->found = err > 0;
	if (err <= 0)
		return err;
	err = outside_see_all(d); /* their flags tell which mappings are watched */
	if (err < 0)
		return err;
	if (!is_of(&t->lease.facts, k->t)) {
		log_debug("task %d: it is not the program any more that was tracked", k->t->pid);
		return 0;
	}
	t->uffd = t->lease.uffd;
	if (d->memory_only)
		err = watched_runs(k, &runs);
	if (err >= 0)
		trust(k, &runs);
	pagemap_runs_free(&runs);
	return err;
}

static int enter_task(struct dtask *k)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_ASYNC | WP_UNPOPULATED | WP_HUGETLBFS_SHMEM };
	auto_close int fd = remote_userfaultfd(k);

	if (fd < 0)
		return fd;
	if (ioctl(fd, UFFDIO_API, &api) < 0)
		return err_set(errno, "UFFDIO_API");
	k->track.uffd = take_fd(&fd);
	return 0;
}

static int enter_untracked(struct dump *d, struct dtask *k, struct arena *a)
{
	(void)d, (void)a;
	return k->track.uffd < 0 ? err_ctx(enter_task(k), "--track-mem") : 0;
}

int track_enter(struct dump *d)
{
	return d->tracks ? hands_tasks(d, enter_untracked) : 0;
}

/* --- what has not changed ------------------------------------------------------------------------- */

static int add_run(struct pagemap_runs *out, uint64_t from, uint64_t to)
{
	struct pagemap_run run = { .start_va = from, .end_va = to };

	return pagemap_runs_add(out, &run);
}

/* The part of [from, to) that the parent images have. *at only moves forward. */
static int add_held(const struct snap_pages *held, size_t *at, uint64_t from, uint64_t to, struct pagemap_runs *out)
{
	int err = 0;

	for (; err >= 0 && *at < held->nextents && held->extents[*at].va < to; ++*at) {
		const struct snap_extent *e = &held->extents[*at];
		uint64_t start = e->va > from ? e->va : from, end = e->va + e->len < to ? e->va + e->len : to;

		if (start < end)
			err = add_run(out, start, end);
		if (e->va + e->len > to)
			break;
	}
	return err;
}

/* The unwritten pages of all mappings that were watched, as far as the parent images have them. */
static int unchanged_of(struct dtask *k, const struct pagemap *pm, const struct snap_pages *held)
{
	struct pagemap_runs clean = { 0 };
	size_t at = 0;
	int err = 0;

	for (size_t i = 0; err >= 0 && i < k->t->nmaps; i++) {
		const struct map *m = &k->t->maps[i];
		const struct pagemap_query *q = m->ino ? &unwritten_file : &unwritten_anon;

		clean.n = 0;
		if (k->track.watched[i])
			err = pagemap_scan(pm, q, m->start_va, m->end_va, &clean);
		for (size_t r = 0; err >= 0 && r < clean.n; r++)
			err = add_held(held, &at, clean.run[r].start_va, clean.run[r].end_va, &k->track.unchanged);
	}
	pagemap_runs_free(&clean);
	return err;
}

/* Why everything counts as changed; NULL: it does not. */
static const char *mistrust(const struct dump *d, const struct dtask *k)
{
	if (!d->base_image)
		return "the parent images do not say which they are";
	if (k->track.uffd < 0 || !k->track.found)
		return "it was not tracked";
	return strcmp(k->track.lease.facts.image, d->base_image) ? "it was tracked since other images" : NULL;
}

static int task_unchanged(struct dump *d, struct dtask *k)
{
	struct snap_pages held = { 0 };
	const char *why = mistrust(d, k);
	struct pagemap pm;
	int err;

	if (why) {
		log_warn("task %d (%s): all of its memory is stored: %s", k->t->pid, k->t->stat.comm, why);
		return 0;
	}
	err = snap_chain_of(d->kinds.dir->parent, IMG_PAGEMAP, (uint64_t)k->t->pid, d->kinds.a, &held);
	if (err < 0)
		return err;
	err = pagemap_open(k->t->proc_fd, &pm);
	if (err < 0)
		return err;
	err = unchanged_of(k, &pm, &held);
	pagemap_close(&pm);
	return err;
}

int track_unchanged(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; d->kinds.dir->parent && err >= 0 && i < d->kinds.ntasks; i++)
		err = err_ctx(task_unchanged(d, &d->tasks[i]), "task %d (%s)", d->tasks[i].t->pid,
			      d->tasks[i].t->stat.comm);
	return err;
}

/* --- from here on --------------------------------------------------------------------------------- */

/*
 * Marks from an earlier watch. mremap() ends the watch of what it moves and leaves (as of 6.18) marks behind, and a
 * page that is written to then is writable with the mark on: once watched again it would count as unwritten for ever.
 */
static int wipe(int uffd, const struct pagemap *pm, const struct map *m)
{
	struct uffdio_writeprotect w = { .range = { m->start_va, m->end_va - m->start_va } };
	struct pagemap_runs runs = { 0 };
	int err = pagemap_scan(pm, &marked, m->start_va, m->end_va, &runs);
	bool none = !runs.n;

	pagemap_runs_free(&runs);
	if (err < 0 || none) /* nearly always; to wipe takes twenty times as long as to look */
		return err;
	while (ioctl(uffd, UFFDIO_WRITEPROTECT, &w) < 0)
		if (errno != EAGAIN && errno != EINTR)
			return err_set(errno, "UFFDIO_WRITEPROTECT of %lx-%lx", m->start_va, m->end_va);
	return 0;
}

static int arm_task(struct dtask *k)
{
	struct track *t = &k->track;
	struct pagemap pm;
	int err = t->found ? keeper_take(&t->lease) : 0;

	if (err >= 0)
		err = pagemap_open(k->t->proc_fd, &pm);
	if (err < 0)
		return err;
	for (size_t i = 0; err >= 0 && i < k->t->nmaps; i++) {
		const struct map *m = &k->t->maps[i];

		if (!is_private(m) || !watch(t->uffd, m))
			continue;
		if (!t->watched[i])
			err = wipe(t->uffd, &pm, m);
		if (err >= 0)
			err = pagemap_protect(&pm, m->start_va, m->end_va, m->ino);
	}
	pagemap_close(&pm);
	return err;
}

int track_arm(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && d->tracks && i < d->kinds.ntasks; i++) {
		struct dtask *k = &d->tasks[i];

		err = err_ctx(arm_task(k), "task %d (%s): --track-mem", k->t->pid, k->t->stat.comm);
	}
	return err;
}

void track_keep(struct dump *d)
{
	for (size_t i = 0; d->tracks && i < d->kinds.ntasks; i++) {
		const struct dtask *k = &d->tasks[i];
		struct keeper_facts f = { .pid = k->t->pid, .start_ticks = k->t->stat.start_ticks,
					  .start_stack_va = k->t->stat.start_stack_va };

		if (!d->snap->inventory->dump_criu_run_id)
			continue;
		strncpy(f.image, d->snap->inventory->dump_criu_run_id, sizeof(f.image) - 1);
		if (keeper_add(&d->keeper, &f, k->t->pidfd, k->track.uffd) < 0)
			log_warn("task %d (%s): its memory is not tracked: %s", k->t->pid, k->t->stat.comm, err_text());
	}
	keeper_finish(&d->keeper);
}

void track_done(void *dump)
{
	struct dump *d = dump;

	for (size_t i = 0; d->tasks && i < d->kinds.ntasks; i++) {
		struct track *t = &d->tasks[i].track;

		if (t->uffd >= 0 && t->uffd != t->lease.uffd)
			close(t->uffd);
		if (t->found)
			keeper_give_back(&t->lease);
		t->uffd = -1;
		t->found = false;
		pagemap_runs_free(&t->unchanged);
	}
	keeper_finish(&d->keeper);
}
