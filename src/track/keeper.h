/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: a process ("thaw-track") that keeps the tracking of written pages
 * alive between one dump and the next.
 *
 * The kernel tracks writes for as long as a userfaultfd of the task is open. In
 * the task itself the descriptor would be in the way (a program may close all
 * that it does not know, and would be seen to have one more), so the keeper has it. It also
 * knows from which images on pages count as unchanged. The next dump finds it
 * by a UNIX socket whose abstract name holds the PID namespace and the PID.
 *
 * Everything about it fails towards "all pages have changed": a keeper that is
 * killed takes its descriptor with it, and the kernel forgets the tracking; one that does not answer,
 * or tells of another process or of other images, is as good as none. It ends when all its
 * tasks have ended, or were taken over.
 *
 *   dump:  keeper_begin() ... keeper_add() ... keeper_finish()       the keeper stays behind
 *   next:  keeper_find() ... keeper_give_back() or keeper_take()
 */
#ifndef TRACK_KEEPER_H
#define TRACK_KEEPER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { KEEPER_IMAGE_LEN = 64 };

/* Whose pages are tracked, and since when. */
struct keeper_facts {
	uint64_t start_ticks, start_stack_va; /* with the PID: this process, and this program in it (exec changes it) */
	int32_t pid;
	char image[KEEPER_IMAGE_LEN]; /* the run ID of the images since which writes are known */
};

struct keeper {
	int sock; /* -1: none */
};

/* Makes the process, which does nothing yet. Not after threads exist. */
int keeper_begin(struct keeper *k) must_check;
/* Hands it duplicates of a task's descriptors. */
int keeper_add(const struct keeper *k, const struct keeper_facts *f, int pidfd, int uffd) must_check;
/* It goes on by itself, or ends if it has nothing to keep. Repeatedly is fine. */
void keeper_finish(struct keeper *k);

/* A tracking that a keeper has told us of; it waits for our word. */
struct keeper_lease {
	struct keeper_facts facts;
	int sock, uffd; /* ours to close: keeper_give_back() or keeper_take() */
};

/* Returns 1, or 0: nobody keeps anything for this PID. */
int keeper_find(pid_t pid, struct keeper_lease *ret) must_check;
/* Everything stays as it was. */
void keeper_give_back(struct keeper_lease *l);
/* The keeper lets go: from now on the tracking ends with lease.uffd, which stays open. */
int keeper_take(struct keeper_lease *l) must_check;

#endif
