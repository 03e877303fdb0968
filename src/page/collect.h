/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting memory: the dump side of the page engine.
 *
 * Theory of operation. An object (a task's private memory, a shared memory
 * object) is a sorted list of pieces that may hold something. Pieces are grouped
 * into chunks of up to COLLECT_LEN bytes; workers take chunks from one counter over
 * all objects, read them, look for zero pages and write the rest. Where in the
 * pages file a chunk goes depends on how many pages of all earlier chunks of its
 * object were zero, so a chunk waits its turn between looking and writing: reading,
 * looking and writing of different chunks overlap, only the counting is in order.
 * Nobody can wait for a chunk that nobody has taken, since they are taken in order.
 *
 * A file in memory needs no copy in between: a chunk is read to where it belongs if no chunk before it, of those
 * that are not counted yet, has a page of zeros. Mostly that comes true. If not, the chunk is moved down to its place
 * while it has its turn, for the next one may come to lie where it was; and for a while chunks go through a buffer:
 * as long as there may be others that counted on the same, whose places theirs would overlap.
 */
#ifndef PAGE_COLLECT_H
#define PAGE_COLLECT_H

#include <sys/uio.h>

#include "kern/pagemap.h"
#include "page/pages_file.h"
#include "snap/snap.h"

enum { COLLECT_LEN = 2 << 20, COLLECT_IOVS = 256 };

/* One range of addresses (of a task) or offsets (of a shared object); page multiples. */
struct collect_piece {
	uint64_t at, len;
	bool keep_zero; /* a zero page here is not what an absent one would be (a file lies below) */
	bool by_mem;    /* not readable for its owner (PROT_NONE): read through /proc/PID/mem */
};

struct collect_object {
	const char *name;     /* for sentences: "task 12 (nginx)" */
	int32_t pid;          /* read by process_vm_readv, 0: by pread from src_fd */
	int src_fd;           /* the shared object, or /proc/PID/mem */
	bool may_vanish;      /* it runs: what cannot be read any more is left out */
	struct pagemap pm;    /* of a process */
	bool alone;           /* no page of it can be another process's as well */
	struct pages_file out; /* pages-<id>.img */
	struct collect_piece *pieces;
	size_t npieces;
	/* the result: runs of pages that were stored, in order */
	struct collect_run {
		uint64_t at, len;
	} *runs;
	size_t nruns;
	/* the engine's own */
	size_t runs_cap;
	uint64_t off;
	_Atomic uint32_t turn;
	_Atomic uint64_t left_out; /* bytes of zeros in the chunks that had their turn */
	_Atomic uint32_t patience; /* the first chunk that may count on there being no more of them */
};

/*
 * Reads all objects with nthreads threads (0, 1: the caller alone). *done counts
 * bytes looked at, may be read meanwhile; *stop set by someone ends the work with -ECANCELED. tick() is called by the
 * waiting caller now and then. runs are malloc'ed, the caller frees them.
 */
int collect_run_all(struct collect_object *objects, size_t n, unsigned nthreads, _Atomic uint64_t *done,
		    const volatile int *stop, void (*tick)(void *ctx), void *ctx) must_check;

#endif
