/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GPU side of a dump. CUDA processes are locked while the tree still runs (a lock waits for calls in flight),
 * then the tree is stopped, and the driver moves what is on the GPU into the memory of each process. From then on they
 * are ordinary processes.
 */
#ifndef DUMP_GPU_DUMP_H
#define DUMP_GPU_DUMP_H

#include "dump/dt.h"
#include "dump/gpu_away.h"
#include "dump/gpu_rescue.h"
#include "dump/prefault.h"

/* A CUDA process of the tree. */
struct gpu_proc {
	pid_t pid, tid;          /* tid: the thread in which the driver works */
	const char *comm;
	enum gpu_state found;    /* before thaw did anything */
	bool dev;                /* it maps or holds /dev/nvidia* */
	uint64_t minors;         /* of these, the N of /dev/nvidiaN that are open, as bits */
	bool runs;               /* its restore thread was let go */
	bool busy;               /* a step of it is under way, its ticket and since when */
	uint32_t ticket;
	uint64_t from_ns;
	struct gpu_ledger_row *row;
	struct map *maps;        /* before it was locked */
	size_t nmaps;
	struct prefault prefault;
	struct gpu_away away;    /* its memory that thaw moves itself */
};

struct gpu_dump {
	struct gpu_client *client;
	struct gpu_proc *v;
	size_t n;
	pid_t *none;             /* those with libcuda of which the driver says that they have no GPU state */
	size_t n_none;
};

/* The stage, behind "seize": finds them, lets the tree go to lock them, stops it again, checkpoints. */
int gpu_dump_checkpoint(struct dump *d) must_check;
/* Everything back; seized: the tree stands and stays so. */
void gpu_dump_give_back(struct dump *d, bool seized);
void gpu_dump_done(void *dump);

/*
 * gpu_note.c: notes in the images what restore has to know, and the plugins that CRIU would need for it. Returns
 * whether GPU memory lies in files that CRIU does not know.
 */
bool gpu_note(struct dump *d, PluginsEntry *plugins);

/* gpu_find.c: which tasks of the stopped tree may have to do with a GPU, by what they map and hold. */
struct gpu_traces {
	bool lib;  /* maps libcuda */
	bool dev;  /* maps or holds /dev/nvidia* */
	uint64_t minors;
};
int gpu_find_traces(const struct seize_task *t, struct gpu_traces *ret) must_check;
struct seize_task *gpu_find_task(const struct seize *s, pid_t pid);

/* gpu_steps.c: one step for all processes that want it, at once. */
int gpu_steps(struct dump *d, enum gpu_step step, uint32_t timeout_ms,
	      bool (*wants)(const struct gpu_proc *p)) must_check;
void gpu_steps_tend(void *dump);

#endif
