/* SPDX-License-Identifier: Apache-2.0 */
/* A seize under way: what seize.c (the tree) and seize_member.c (its members, one by one) share. */
#ifndef KERN_SEIZE_MEMBER_H
#define KERN_SEIZE_MEMBER_H

#include "kern/seize.h"
#include "kern/tracees.h"
#include "kern/watchdog.h"

struct member { /* a task of the tree, and what we know of it on the way */
	struct seize_task task; /* first: handed out */
	struct tracee **thread;
	size_t n_threads;
	uint8_t hand; /* who traces it */
	unsigned int gen;
	bool settled, gone;
	UT_hash_handle hh;
};

struct wanted { /* a thread that is to be seized */
	struct member *m;
	pid_t tid;
	uint8_t tracer; /* who has it now */
	bool ours, poke;
};

struct seizer {
	struct seize out; /* first: handed out */
	struct arena *a;
	struct tracees set;
	struct member *by_pid; /* uthash */
	struct wanted **wanted;
	size_t n_wanted;
	struct ptrace_waiter waiter;
	struct watchdog watchdog;
	uint64_t timeout_ns;
};

void member_close(struct member *m);
/* Sees to it that a thread of m stands: 0 if it does already, 1 if it is to be seized. */
int member_stop(struct seizer *z, struct member *m, pid_t tid);
/* One step towards a task that stands for good; m->settled tells. */
int member_settle(struct seizer *z, struct member *m) must_check;
/* Its part of the result. */
void member_fill(struct seizer *z, struct member *m);

/* Seizes all that are wanted, each in the thread that is to trace it. */
int seize_wanted(struct seizer *z) must_check;

#endif
