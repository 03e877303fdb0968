/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages for the memory into which the driver copies what was on the GPU, without a system-wide setting.
 *
 * The driver makes one large private mapping and touches it page by page while it copies; with 4 KiB pages that is most
 * of the time a checkpoint takes. All threads of the process but the driver's own stand still in our hands: as soon
 * as the mapping shows, some of them are borrowed to advise huge pages and to populate it, ahead of the driver. They
 * do it by single system calls on ledges (arch/x86_64/ledge.h), so they find home also without us.
 */
#ifndef DUMP_PREFAULT_H
#define DUMP_PREFAULT_H

#include "arch/x86_64/ledge.h"
#include "kern/maps.h"
#include "kern/seize.h"

enum { PREFAULT_THREADS = 8 };

struct prefault {
	const struct seize_task *task;
	struct arena *a;
	struct borrowed {
		pid_t tid;
		struct user_regs_struct home;
		uint64_t mask;
		struct ledge ledge;
		bool busy, lost;
	} thread[PREFAULT_THREADS];
	size_t n;                     /* threads; 0: nothing is done */
	uint64_t vsize_len;           /* of the process, when its mappings were last read */
	struct map *maps;             /* those */
	size_t nmaps;
	struct prefault_range {
		uint64_t start_va, end_va; /* what is still to be populated */
		bool advised;
	} range[16];
	size_t nranges;
	uint64_t populated_len;
};

/* but: the thread that will run. What cannot be had (no room, no ledge) is left out: it is only about time. */
void prefault_begin(struct prefault *p, const struct seize_task *t, pid_t but, struct arena *a);
/* Looks for new mappings and for threads that are ready for more; every millisecond or so. */
void prefault_tend(struct prefault *p);
/* All threads stand as before. */
void prefault_end(struct prefault *p);

#endif
