/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way home of a task after the commit: its leader through its sigreturn, the hole out of its memory, and free.
 * In steps, each of which begins what the next waits for: so a tracer that has many tasks takes each step with
 * all of them, and hardly ever waits.
 */
#ifndef RESTORE_HOME_H
#define RESTORE_HOME_H

#include "arch/x86_64/ledge.h"
#include "restore/rt.h"

struct home {
	const struct restore *r;
	const struct rtask *k;
	struct arena *a;
	struct user_regs_struct regs; /* the leader's own, once it is through its sigreturn */
	uint64_t mask;
	struct ledge ledge;
	bool away; /* it stands, or runs, with registers of ours */
	bool failed;
};

/* Thread i of a living task is stopped under ptrace for the commit, by the tracer that goes home with the task. */
bool home_traced(const struct restore *r, const struct rtask *k, size_t i);
/* A thread that waits for the commit, through its sigreturn: it stands with the registers and the mask of the image. */
int home_send(const struct restore *r, const struct rtask *k, size_t i, struct user_regs_struct *ret_home) must_check;

enum { HOME_STEPS = 5 };
/* What fails is said in the log: the tree lives. Steps behind a failure do nothing. */
void home_step(struct home *h, unsigned step);
/* After the last step: the task has its own registers again and runs, or is stopped as it shall be. */
void home_end(struct home *h);

#endif
