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
#include "gpu/gpu_spare.h"
#include "kern/kcmp.h"

/* What of a GPU can be seen in a task from outside. */
struct gpu_traces {
	bool lib;        /* maps libcuda */
	bool dev;        /* maps /dev/nvidia*, or has it open */
	uint64_t minors; /* of these, the N of /dev/nvidiaN that are open, as bits */
	int *fds;        /* that are open of /dev/nvidia*, and not only as a name */
	size_t n_fds;
};

/* A CUDA process of the tree. */
struct gpu_proc {
	pid_t pid, tid;          /* tid: the thread in which the driver works */
	const char *comm;
	enum gpu_state found;    /* before thaw did anything */
	struct gpu_traces traces;
	uint32_t *files;         /* what traces.fds refer to, numbered over the tree; gpu_heirs.c has it */
	pid_t ppid;
	bool forked;             /* and no other program was started since */
	uint64_t start_ticks, driver_ticks; /* when it was born; and the driver's thread in it */
	bool runs;               /* its restore thread was let go */
	bool busy;               /* a step of it is under way, its ticket and since when */
	uint32_t ticket;
	uint64_t from_ns;
	struct gpu_ledger_row *row;
	struct map *maps;        /* before it was locked */
	size_t nmaps;
	struct prefault prefault;
	struct gpu_away away;    /* its memory that thaw moves itself */
	int payload_fd;          /* the file for what the driver lends, -1: nothing (gpu_lend.h) */
	struct gpu_spares *spares; /* the GPUs, and what it had there before; NULL: unknown */
};

struct gpu_dump {
	struct gpu_client *client;
	struct gpu_proc *v;
	size_t n;
	pid_t *none;             /* those with libcuda of which the driver says that they have no GPU state */
	size_t n_none;
	pid_t *heirs;            /* those of them that hold what a CUDA process has open */
	size_t n_heirs;
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
int gpu_find_traces(struct arena *a, const struct seize_task *t, struct gpu_traces *ret) must_check;
struct seize_task *gpu_find_task(const struct seize *s, pid_t pid);

/*
 * gpu_who.c: find fills d->gpu->v with those that map libcuda, ret_dev is one of them that holds a device; ask keeps
 * those with GPU state; check refuses when there are others by now.
 */
int gpu_who_find(struct dump *d, const struct seize_task **ret_dev) must_check;
int gpu_who_ask(struct dump *d) must_check;
int gpu_who_check(struct dump *d) must_check;

/* gpu_marks.c: refuses what is known to fail in the driver's checkpoint or restore, by what p maps. */
int gpu_marks_check(struct dump *d, const struct gpu_proc *p) must_check;

/*
 * gpu_heirs.c: children that a CUDA process has forked and that use no CUDA of their own. note: what p has open, while
 * the tree stands. age: of one with GPU state. is: when all states are known. mark: tells the kinds.
 */
int gpu_heirs_note(struct dump *d, struct kcmp_set *set, const struct seize_task *t, struct gpu_proc *p) must_check;
int gpu_heirs_age(struct gpu_proc *p) must_check;
bool gpu_heirs_is(const struct gpu_dump *g, const struct gpu_proc *p);
void gpu_heirs_mark(struct dump *d);

/* gpu_steps.c: one step for all processes that want it, at once. */
int gpu_steps(struct dump *d, enum gpu_step step, uint32_t timeout_ms,
	      bool (*wants)(const struct gpu_proc *p)) must_check;
void gpu_steps_tend(void *dump);

#endif
