/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes whom: the tree of a restore.
 *
 * A process gets its parent, session and group only from who forks it and when,
 * so the plan decides for every task of the image who creates it and at which
 * moment of its creator's life, and adds helpers: short-lived tasks that hold
 * the ID of a session or group leader that was already dead at dump.
 */
#ifndef RESTORE_TREE_H
#define RESTORE_TREE_H

#include "kind/kind.h"

enum rtask_role { RTASK_ALIVE, RTASK_ZOMBIE, RTASK_HELPER };

struct rtask {
	enum rtask_role role;
	const struct snap_task *t;  /* NULL for a helper */
	uint32_t index;             /* on the board and in rtree.tasks */
	int32_t pid, pgid, sid;
	struct rtask *parent;       /* whose child it is; NULL for the root */
	struct rtask *creator;      /* who forks it: its parent, or a sibling */
	bool outside;               /* its session is not in the tree: it stays in thaw's (--shell-job) */
	bool joins;                 /* a process group that another one leads */
	bool by_sibling;            /* its creator is a sibling: CLONE_PARENT */
	/* Those it creates, before and after it makes its own session. */
	struct rtask **early, **late;
	size_t nearly, nlate;
	/* Copy-on-write memory (heritage.h): it is created when its creator's memory stands, and keeps some of it. */
	struct heritage *heritage;  /* NULL: it keeps none */
	bool heir;                  /* it, or one that it creates, keeps some */
	bool finds_memory;          /* an heir, or created behind one */
	uint64_t start_va;          /* its program */
	uint64_t *frames_va;        /* the signal frame of each thread, the leader's first */
};

struct rtree {
	struct rtask **tasks; /* every one after its creator; [0] is the root */
	size_t n;
	size_t nthreads;      /* of living tasks, leaders included */
};

/* -ENOTSUP by name for a session or group that cannot be made from scratch. */
int rtree_build(struct restoring *r, struct rtree *ret_tree) must_check;

#endif
