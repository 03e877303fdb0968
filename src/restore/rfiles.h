/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open files of a restore.
 *
 * The engine opens every file object of the image once and keeps it at a number
 * above every descriptor number the image uses. The tree inherits all of them,
 * so tasks share open file descriptions exactly as they did, and a record of a
 * program can name a descriptor by a constant.
 */
#ifndef RESTORE_RFILES_H
#define RESTORE_RFILES_H

#include "kind/kind.h"

struct rfiles {
	int base;      /* the first number that is ours */
	int *fd_of;    /* by file id; -1: not open yet */
	uint32_t nids;
	bool stand_in; /* thaw plan: nothing is opened, numbers are made up */
	bool *opening; /* a kind that asks for a file that asks for it */
};

/* Chooses base from the image; checks it against RLIMIT_NOFILE (the soft limit is raised). */
int rfiles_init(struct restoring *r) must_check;
/* check() of every file entry: nothing is opened. */
int rfiles_check(struct restoring *r) must_check;
/* open() by rank, then link(). */
int rfiles_open(struct restoring *r) must_check;
/* The tasks have them: the engine lets go of every file, so that pipes and sockets end when the tasks' ends do. */
void rfiles_release(struct restoring *r);
/* Closes everything at and above base in the engine. */
void rfiles_close(struct restoring *r);

#endif
