/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes without the preloaded library (gpu_away.h) whose GPU memory the driver lends at the checkpoint: the agent
 * copies it into the image then, instead of the driver into the process (gpu/gpu_lent.h).
 */
#ifndef DUMP_GPU_LEND_H
#define DUMP_GPU_LEND_H

#include <stdbool.h>
#include <stdint.h>

#include "dump/gpu_rescue.h"
#include "snap/snap.h"

struct dump;
struct gpu_proc;

/* Makes the files, if the driver lends; wants: who will be checkpointed. */
int gpu_lend_prepare(struct dump *d, bool (*wants)(const struct gpu_proc *p)) must_check;
/* The process is checkpointed: was anything lent? */
void gpu_lend_settle(struct gpu_proc *p);
/* What restore has to know. Returns whether there is anything. */
bool gpu_lend_note(const struct gpu_proc *p, ThawGpuEntry *e);
void gpu_lend_done(struct dump *d);

/* The way back for a process that a step has got so far: its GPU memory is in the file that the ledger names. */
int gpu_lend_rescue(struct gpu_client *c, const struct gpu_ledger_row *row, uint32_t timeout_ms,
		    uint32_t *ret_ticket) must_check;

#endif
