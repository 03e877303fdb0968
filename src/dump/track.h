/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracking of written pages, for images that build upon earlier ones.
 *
 * A page is left to the parent images only if all of this holds: the task's
 * tracking is ours and still that of this very process and program (keeper.h); its
 * mapping was watched since then; the kernel says that nobody wrote to the page
 * since the images that --prev-images-dir names; and those images have it. Whoever cannot
 * prove it stores the page. New mappings, moved ones, children and new programs are not
 * watched, so they are stored whole.
 *
 * --track-mem begins anew at the moment of this dump: every page is write-protected
 * in the kernel's books (UFFD_FEATURE_WP_ASYNC: a write to it only clears the mark, nobody is asked).
 * From there on the old tracking is gone; should the dump then fail, tracking is off.
 */
#ifndef DUMP_TRACK_H
#define DUMP_TRACK_H

#include "kern/maps.h"
#include "kern/pagemap.h"
#include "track/keeper.h"

struct dump;
struct dtask;

struct track {
	struct keeper_lease lease; /* of the tracking found; uffd is closed by track_done() */
	bool found;                /* a keeper has told of it */
	int uffd;                  /* lease's or a new one; -1: not tracked */
	bool *watched;             /* by number of its mapping: since lease.facts.image */
	struct pagemap_runs unchanged; /* what track_unchanged() found */
};

/* Before anything: is --track-mem possible here? Makes the keeper. */
int track_begin(struct dump *d) must_check;
/* Looks for a task's tracking. Mappings watched by it lose the flag that would have them refused (MAP_VM_UW). */
int track_find(struct dump *d, struct dtask *k) must_check;
/* --track-mem: a tracker in every task that has none; the tasks stand, their blobs are not running. */
int track_enter(struct dump *d) must_check;
/* Finds the pages of each task that are as they were in the parent images, ascending. */
int track_unchanged(struct dump *d) must_check;
/* --track-mem: watches all that can be watched; from here on it is this dump's tracking. */
int track_arm(struct dump *d) must_check;
/* --track-mem: the images are complete, the tree goes on: somebody has to keep it. */
void track_keep(struct dump *d);
void track_done(void *dump);

#endif
