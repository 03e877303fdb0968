/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The direct path of a dump: processes that were started by `thaw run` give up their large GPU memory before the
 * driver takes its checkpoint, which then has little left to copy. The agent streams the memory into the image
 * meanwhile. Descriptors keep it alive, here and in the agent: it goes back without a copy.
 */
#ifndef DUMP_GPU_AWAY_H
#define DUMP_GPU_AWAY_H

#include "gpu/gpu_pieces.h"
#include "snap/snap.h"

struct dump;
struct gpu_proc;

struct gpu_away {
	struct gpu_pieces pieces;
	int channel; /* to the agent's stream, valid while pieces.n */
	bool saved;
};

/* Takes the memory of all that have the library; the tree runs, nothing is locked. */
int gpu_away_take(struct dump *d) must_check;
/* A stage: until all of it is in the images. */
int gpu_away_wait(void *dump) must_check;
/* What restore has to know. Returns whether there is anything. */
bool gpu_away_note(struct dump *d, const struct gpu_proc *p, ThawGpuEntry *e);
/* The tree runs and is unlocked: everybody gets back what was taken. */
void gpu_away_give_back(struct dump *d);
/* Lets go of it. */
void gpu_away_done(struct dump *d);

#endif
