/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling shared memory objects (memfds, shared anonymous memory) on the engine's
 * side: any process can write them, so it happens once, beside the tasks' own
 * filling, by threads of the engine.
 */
#ifndef PAGE_SHMEM_FILL_H
#define PAGE_SHMEM_FILL_H

#include "img/imgdir.h"
#include "pie/prog.h"
#include "snap/snap.h"

struct shmem_job {
	const struct snap_shmem *obj;
	int fd; /* the object, open for writing */
};

struct shmem_fill_opts {
	unsigned nthreads;         /* the most there may be */
	unsigned share;            /* how many begin at once; the others take what is given back elsewhere */
	struct pie_budget *budget; /* of the whole restore */
	bool punch, rings; /* rings: io_uring may be used */
	enum pie_io io;
	bool (*needed)(const void *ctx, int32_t tid); /* an ID that the tree needs: no thread of ours may keep it */
	const void *ctx;
	/* not 0: the restore is to end, or has failed elsewhere */
	const volatile int *stop;
	const uint32_t *failed;
	uint32_t *unpunched; /* counts, atomically, the punches that failed */
};

/*
 * Reads the pages of all objects into place with o->nthreads threads (0, 1: the
 * caller alone, who does not wait for a place in the budget), from the directory and those that it builds upon.
 * punch: free them there behind. *done counts bytes.
 */
int shmem_fill(const struct imgdir *dir, const struct shmem_job *jobs, size_t njobs, const struct shmem_fill_opts *o,
	       _Atomic uint64_t *done) must_check;

#endif
