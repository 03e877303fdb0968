/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mappings of a task.
 *
 * Two sources. /proc/PID/maps is quick (1 us a mapping) and knows protection and
 * file. The madvise and mlock state (VmFlags) is in /proc/PID/smaps only, which
 * formats 700 bytes a mapping (6 us) and looks at each of its pages (2 GiB of 4 KiB
 * pages: 45 ms; of huge pages: nothing). One read of smaps gives both. No interface as of
 * 6.18 tells VmFlags without that walk.
 *
 * Names and the array live in the arena. Functions return 0 or -errno with a trail.
 */
#ifndef KERN_MAPS_H
#define KERN_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/err.h"

/* VmFlags, one bit per two-letter word of smaps; words that are not listed are kept out. */
enum map_flag {
	MAP_VM_RD, MAP_VM_WR, MAP_VM_EX, MAP_VM_SH, /* rd wr ex sh: now */
	MAP_VM_MR, MAP_VM_MW, MAP_VM_ME, MAP_VM_MS, /* mr mw me ms: may become */
	MAP_VM_GD, /* gd: grows down */
	MAP_VM_PF, /* pf: pure PFN range */
	MAP_VM_LO, /* lo: locked */
	MAP_VM_IO, /* io: memory-mapped I/O */
	MAP_VM_SR, /* sr: MADV_SEQUENTIAL */
	MAP_VM_RR, /* rr: MADV_RANDOM */
	MAP_VM_DC, /* dc: MADV_DONTFORK */
	MAP_VM_DE, /* de: no mremap expanding */
	MAP_VM_AC, /* ac: accountable */
	MAP_VM_NR, /* nr: no swap reserve (MAP_NORESERVE) */
	MAP_VM_HT, /* ht: hugetlb */
	MAP_VM_SF, /* sf: MAP_SYNC */
	MAP_VM_AR, /* ar: architecture's own */
	MAP_VM_WF, /* wf: MADV_WIPEONFORK */
	MAP_VM_DD, /* dd: MADV_DONTDUMP */
	MAP_VM_SD, /* sd: soft-dirty */
	MAP_VM_MM, /* mm: mixed map */
	MAP_VM_HG, /* hg: MADV_HUGEPAGE */
	MAP_VM_NH, /* nh: MADV_NOHUGEPAGE */
	MAP_VM_MG, /* mg: MADV_MERGEABLE */
	MAP_VM_UM, /* um: userfaultfd missing */
	MAP_VM_UW, /* uw: userfaultfd write-protect */
	MAP_VM_UI, /* ui: userfaultfd minor */
	MAP_VM_SS, /* ss: shadow stack */
	MAP_VM_SL, /* sl: sealed (mseal) */
	MAP_VM_LF, /* lf: lock on fault */
	MAP_VM_DP, /* dp: droppable */
	MAP_VM_PK, /* no word: it has a protection key, which smaps tells on a line of its own */
	MAP_VM_FLAGS
};
#define MAP_VM_BIT(f) (UINT64_C(1) << (f))

/* Where the addresses of programs end. */
#define MAPS_END_VA UINT64_C(0x7ffffffff000)

struct map {
	uint64_t start_va, end_va;
	uint64_t file_off; /* bytes */
	uint64_t ino;      /* 0: no file */
	uint32_t dev_major, dev_minor;
	int prot;          /* PROT_READ | PROT_WRITE | PROT_EXEC */
	bool shared;
	uint64_t vm_flags; /* MAP_VM_BIT()s; 0 without MAPS_FLAGS */
	uint64_t page_len; /* bytes of one page (hugetlb: 2 MiB...); 0 without MAPS_FLAGS */
	uint64_t anon_len; /* bytes of private pages present, swap included; only with MAPS_FLAGS */
	/*
	 * "": anonymous. "[heap]", "[stack]", "[vdso]", "[anon:NAME]"..., or a path: a newline in it reads \012,
	 * and " (deleted)" follows an unlinked one. Shared anonymous memory is "/dev/zero (deleted)".
	 */
	const char *name;
};

/*
 * Whether every page of it is there (or swapped out) and no other process's file: then there is nothing to be looked
 * for. Of a file in memory smaps counts pages as swapped that are not the mapping's own.
 */
static inline bool map_full(const struct map *m)
{
	return !m->ino && !m->shared && m->anon_len == m->end_va - m->start_va;
}

/* The first one of that name; NULL: there is none. */
const struct map *maps_named(const struct map *maps, size_t n, const char *name);

enum maps_want { MAPS_PLAIN, MAPS_FLAGS };

/* All mappings in ascending order. [vsyscall], which is no mapping of the task, is left out. */
int maps_read(int proc_fd, enum maps_want want, struct arena *a, struct map **ret_maps, size_t *ret_n) must_check;

/*
 * Fills in what MAPS_FLAGS adds, for all or some mappings of a plain reading (ascending). Allocates
 * nothing from an arena and touches only maps[0..n): it may run in a thread of its own, beside the
 * reading of pages, which hides the walk of a large memory.
 */
int maps_flags(int proc_fd, struct map *maps, size_t n) must_check;

#endif
