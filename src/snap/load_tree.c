/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of tasks out of a list of PIDs. Parents come before children whatever
 * the order in the file, so that everybody else may walk the list once. Who is not
 * reached from the root hangs on a ring: nothing here recurses or runs in circles.
 */
#include <string.h>

#include "snap/load.h"

/* The hash table's memory is the arena's: `s` is in scope wherever it is used. */
#define uthash_malloc(len)  arena_alloc(s->a, (len))
#define uthash_free(p, len) ((void)0)
#include <uthash.h>

struct load_id {
	uint32_t id;
	struct snap_task *owner;
	UT_hash_handle hh;
};

int load_id_claim(struct snap *s, struct load_id **ids, uint32_t id, struct snap_task *t)
{
	struct load_id *at;

	HASH_FIND_INT(*ids, &id, at);
	if (at)
		return err_say(EINVAL, "pstree.img: task %u: ID %u is already that of %s %u", t->pst->pid, id,
			       at->owner->pst->pid == id ? "task" : "a thread of task", at->owner->pst->pid);
	at = arena_alloc(s->a, sizeof(*at));
	at->id = id;
	at->owner = t;
	HASH_ADD_INT(*ids, id, at);
	return 0;
}

static int task_link(struct snap *s, struct load_id *ids, struct snap_task *t, struct snap_task **root)
{
	struct load_id *up;

	if (!t->pst->ppid) {
		if (*root)
			return err_say(EINVAL, "pstree.img: tasks %u and %u both have no parent", (*root)->pst->pid,
				       t->pst->pid);
		*root = t;
		return 0;
	}
	HASH_FIND_INT(ids, &t->pst->ppid, up);
	if (!up)
		return err_say(EINVAL, "pstree.img: task %u: its parent %u is not in the image", t->pst->pid,
			       t->pst->ppid);
	t->parent = up->owner;
	arena_add(s->a, &t->parent->children, &t->parent->nchildren, t);
	return 0;
}

/* The list is its own queue: each task appends its children. */
static int tree_walk(struct snap *s, struct snap_task *root, struct snap_task **all, size_t n)
{
	arena_add(s->a, &s->tasks, &s->ntasks, root);
	for (size_t i = 0; i < s->ntasks; i++) {
		struct snap_task *t = s->tasks[i];

		t->index = i;
		for (size_t k = 0; k < t->nchildren; k++)
			arena_add(s->a, &s->tasks, &s->ntasks, t->children[k]);
	}
	for (size_t i = 0; i < n; i++)
		if (all[i] != root && !all[i]->index)
			return err_say(EINVAL, "pstree.img: task %u is its own ancestor", all[i]->pst->pid);
	return 0;
}

int load_tree(struct snap *s, int dirfd, struct load_id **ids)
{
	struct snap_task *root = NULL, **all = NULL;
	struct img_msgs pst;
	size_t n = 0;
	int r = img_read_all(dirfd, IMG_PSTREE, 0, s->a, &pst);

	for (size_t i = 0; r >= 0 && i < pst.n; i++) {
		struct snap_task *t = arena_alloc(s->a, sizeof(*t));

		t->pst = (PstreeEntry *)pst.v[i].msg;
		arena_add(s->a, &all, &n, t);
		r = load_id_claim(s, ids, t->pst->pid, t);
	}
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = task_link(s, *ids, all[i], &root);
	if (r < 0)
		return r;
	if (!root)
		return err_say(EINVAL, n ? "pstree.img: every task has a parent in the image: there is no root" :
					   "pstree.img: names no task");
	return tree_walk(s, root, all, n);
}
