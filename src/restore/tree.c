/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes whom (tree.h). Runs in the engine, pure data.
 *
 * Sessions. A task is born into its creator's session. So a child whose session
 * is (a) its own or its parent's is forked once the parent has made its session;
 * (b) the one its parent was born into, before that; (c) led by a sibling, by
 * that sibling with CLONE_PARENT; (d) led by somebody dead, by a helper with
 * that PID, again with CLONE_PARENT. Anything else cannot arise from fork and
 * setsid alone and is refused.
 *
 * Groups. A leader makes its group at birth; the others join when all are born
 * (a barrier); a dead leader is stood in for by a helper in the same session,
 * which leaves after everybody joined (a second barrier).
 */
#include "restore/tree.h"

static struct rtask *rtask_new(struct restoring *r, enum rtask_role role, int32_t pid)
{
	struct rtask *k = arena_alloc(r->a, sizeof(*k));

	k->role = role;
	k->pid = pid;
	return k;
}

static struct rtask *find(struct rtask **all, size_t n, int32_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (all[i]->pid == pid)
			return all[i];
	return NULL;
}

/* The session t was born into: where those of its children stand that it forked before it made its own. */
static int32_t birth_sid(const struct rtask *k)
{
	const struct snap_task *t = k->t;

	if (k->sid != k->pid || !t)
		return k->sid;
	for (size_t i = 0; i < t->nchildren; i++) {
		const PstreeEntry *c = t->children[i]->pst;

		if ((int32_t)c->sid != k->sid && c->sid != c->pid && k->parent && (int32_t)c->sid == k->parent->sid)
			return (int32_t)c->sid;
	}
	return k->sid;
}

static void creates(struct restoring *r, struct rtask *creator, struct rtask *k, bool early)
{
	if (early)
		arena_add(r->a, &creator->early, &creator->nearly, k);
	else
		arena_add(r->a, &creator->late, &creator->nlate, k);
}

static struct rtask *helper_add(struct restoring *r, struct rtree *tree, struct rtask *by, int32_t pid, int32_t sid)
{
	struct rtask *h = rtask_new(r, RTASK_HELPER, pid);

	h->parent = by;
	h->sid = sid;
	h->pgid = pid;
	creates(r, by, h, false);
	arena_add(r->a, &tree->tasks, &tree->n, h);
	return h;
}

/* Finds the creator of k, whose parent is known. */
static int place(struct restoring *r, struct rtree *tree, struct rtask *k)
{
	struct rtask *p = k->parent, *leader;

	if (k->sid == k->pid || k->sid == p->sid || (k->sid == birth_sid(p) && k->sid != p->sid)) {
		creates(r, p, k, k->sid != k->pid && k->sid != p->sid);
		return 0;
	}
	leader = find(tree->tasks, tree->n, k->sid);
	if (!leader)
		leader = helper_add(r, tree, p, k->sid, k->sid);
	if (leader->parent != p)
		return err_say(ENOTSUP,
			       "task %d (%s): it is in session %d, led by a task that is not its parent or sibling: this is not supported yet",
			       k->pid, snap_comm(k->t), k->sid);
	k->by_sibling = true;
	creates(r, leader, k, false);
	return 0;
}

static int add_groups(struct restoring *r, struct rtree *tree)
{
	size_t n = tree->n;

	for (size_t i = 0; i < n; i++) {
		struct rtask *k = tree->tasks[i], *leader = find(tree->tasks, tree->n, k->pgid);

		if (k->outside || leader)
			continue;
		/* whoever shares the session can make the stand-in; a helper or zombie cannot wait for it */
		for (size_t j = 0; j < n; j++)
			if (tree->tasks[j]->sid == k->sid && tree->tasks[j]->role == RTASK_ALIVE)
				leader = tree->tasks[j];
		if (!leader)
			return err_say(ENOTSUP, "task %d (%s): nobody alive in its session %d can make its process group %d",
				       k->pid, snap_comm(k->t), k->sid, k->pgid);
		helper_add(r, tree, leader, k->pgid, k->sid);
	}
	return 0;
}

/* Sorts tree->tasks so that each follows its creator, and numbers them. */
static void number(struct rtree *tree, struct arena *a)
{
	struct rtask **order = arena_alloc(a, tree->n * sizeof(*order));
	size_t n = 0;

	/* a tree has a root: load refuses one without tasks */
	order[n++] = tree->tasks[0]; // NOLINT(clang-analyzer-core.NullDereference)
	for (size_t i = 0; i < n; i++) {
		struct rtask *k = order[i];

		k->index = (uint32_t)i;
		for (size_t j = 0; j < k->nearly; j++)
			order[n++] = k->early[j];
		for (size_t j = 0; j < k->nlate; j++)
			order[n++] = k->late[j];
	}
	tree->tasks = order;
	tree->n = n;
}

int rtree_build(struct restoring *r, struct rtree *ret_tree)
{
	const struct snap *s = r->snap;
	struct rtree tree = { 0 };
	int err;

	for (size_t i = 0; i < s->ntasks; i++) {
		const struct snap_task *t = s->tasks[i];
		struct rtask *k = rtask_new(r, t->zombie ? RTASK_ZOMBIE : RTASK_ALIVE, (int32_t)t->pst->pid);

		k->t = t;
		k->pgid = (int32_t)t->pst->pgid;
		k->sid = (int32_t)t->pst->sid;
		k->parent = t->parent ? find(tree.tasks, tree.n, (int32_t)t->parent->pst->pid) : NULL;
		if (!t->zombie)
			tree.nthreads += t->ncores;
		arena_add(r->a, &tree.tasks, &tree.n, k);
	}
	/* A session without a member that leads it, in the root's case: it was outside. */
	for (size_t i = 0; i < tree.n; i++) {
		struct rtask *k = tree.tasks[i];

		k->outside = k->sid == tree.tasks[0]->sid && tree.tasks[0]->sid != tree.tasks[0]->pid;
		if (k->outside && !r->opts->shell_job)
			return err_say(EINVAL, "task %d (%s): its session %d is outside of the image: use --shell-job (-j)",
				       k->pid, snap_comm(k->t), k->sid);
	}
	for (size_t i = 1, n = tree.n; i < n; i++) {
		err = place(r, &tree, tree.tasks[i]);
		if (err < 0)
			return err;
	}
	err = add_groups(r, &tree);
	if (err < 0)
		return err;
	number(&tree, r->a);
	*ret_tree = tree;
	return 0;
}
