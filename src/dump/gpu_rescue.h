/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CUDA processes get back to where they were: after a failed dump, one that lets them run on, or one whose
 * engine was killed.
 *
 * What thaw does to them is noted in a ledger before it is done. The ledger is shared with the process that
 * only waits (base/guard.h): if the engine is killed, that one reads in it whom it has to help. It asks the driver in
 * which state each process is and goes on from there, so it does not matter where the engine has ended.
 */
#ifndef DUMP_GPU_RESCUE_H
#define DUMP_GPU_RESCUE_H

#include "gpu/gpu_client.h"

enum { GPU_LEDGER_ROWS = 4096 };

struct gpu_ledger {
	const char *socket;     /* of the agent */
	uint32_t n;
	struct gpu_ledger_row {
		pid_t pid;
		enum gpu_state found; /* and so it is to be again */
		bool touched;         /* a step was begun for it */
		bool hung;            /* and the driver did not end it in time */
		pid_t masked_tid;     /* its restore thread, while all signals are blocked in it; 0: they are not */
		uint64_t mask;        /* what it had blocked before */
		char comm[16];
		char payload[512];    /* the file of what the driver lends (gpu_lend.h); "": it copies itself */
	} row[GPU_LEDGER_ROWS];
};

/* Shared memory, or NULL with a trail. */
struct gpu_ledger *gpu_rescue_ledger(const char *socket);
/*
 * Restores and unlocks what was touched, all at once; their restore threads must be able to run. tend (or NULL) is
 * called now and then. Says in the log what was done, and what could not be.
 */
void gpu_rescue(struct gpu_ledger *l, void (*tend)(void *arg), void *arg);
/* The same for who comes after a killed engine; threads whose signals it held back get their masks. Returns err. */
int gpu_rescue_orphans(struct gpu_ledger *l, int err);

#endif
