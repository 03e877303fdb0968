/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine is and has, and so every task of a restore starts with. Asked once: asking for each task took a third
 * of the time to assemble two hundred.
 */
#ifndef KIND_OWN_H
#define KIND_OWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "arch/x86_64/xsave.h"

struct own {
	int oom_score_adj, nice, sched_policy;
	uint32_t coredump_filter, loginuid, personality;
	uint64_t timerslack_ns;
	bool no_thp;
	dev_t root_dev; /* the root directory */
	ino_t root_ino;
	struct xsave_layout xsave;
};

int own_read(struct own *ret) must_check;

#endif
