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
 *
 * Outside (--shell-job): the root's session is not in the tree, and maybe its group
 * is not either. Who is in these stays in thaw's.
 *
 * Images are untrusted: whatever setsid() and setpgid() cannot have made is refused,
 * so that everybody is created once and no barrier waits for somebody who never comes.
 */
#include "restore/tree.h"

#include <inttypes.h>
#include <signal.h>

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
	k->creator = creator;
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

static int refuse(int errnum, const struct rtask *k, const char *why, int32_t id)
{
	return err_say(errnum, "task %d (%s): its %s %d%s", k->pid, snap_comm(k->t), why, id,
		       errnum == ENOTSUP ? ": this is not supported yet" : " cannot be, the image is damaged");
}

static bool is_thread(const struct rtree *tree, int32_t id)
{
	for (size_t i = 0; i < tree->n; i++) {
		const struct snap_task *t = tree->tasks[i]->t;

		for (size_t k = 1; t && k < t->ncores; k++)
			if ((int32_t)t->pst->threads[k] == id)
				return true;
	}
	return false;
}

/* A number that was a dead leader's can be nobody else's. */
static bool is_dead_leader(const struct rtree *tree, int32_t id)
{
	return id > 0 && !is_thread(tree, id);
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
	if (leader ? leader->sid != leader->pid : !is_dead_leader(tree, k->sid))
		return refuse(EINVAL, k, "session", k->sid);
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

/* Who shares the session can make the stand-in; a helper or zombie cannot wait for it. */
static struct rtask *helper_maker(const struct rtree *tree, size_t n, const struct rtask *k)
{
	for (size_t i = 0; i < n; i++)
		if (tree->tasks[i]->sid == k->sid && tree->tasks[i]->role == RTASK_ALIVE)
			return tree->tasks[i];
	return NULL;
}

static int add_group(struct restoring *r, struct rtree *tree, size_t n, struct rtask *k)
{
	struct rtask *leader = find(tree->tasks, tree->n, k->pgid), *maker;
	const struct rtask *root = tree->tasks[0];

	if (k->pgid == k->pid)
		return 0;
	if (!leader && k->outside && k->pgid == root->pgid)
		return 0;
	if (k->sid == k->pid || (leader ? leader->sid != k->sid : !is_dead_leader(tree, k->pgid)))
		return refuse(EINVAL, k, "process group", k->pgid);
	if (leader && leader->pgid != leader->pid)
		return refuse(ENOTSUP, k, "leader has left process group", k->pgid);
	k->joins = true;
	if (leader)
		return 0;
	maker = helper_maker(tree, n, k);
	if (!maker)
		return err_say(ENOTSUP, "task %d (%s): nobody alive in its session %d can make its process group %d", k->pid,
			       snap_comm(k->t), k->sid, k->pgid);
	helper_add(r, tree, maker, k->pgid, k->sid);
	return 0;
}

static int add_groups(struct restoring *r, struct rtree *tree)
{
	int err = 0;

	for (size_t i = 0, n = tree->n; err >= 0 && i < n; i++)
		if (tree->tasks[i]->role != RTASK_HELPER)
			err = add_group(r, tree, n, tree->tasks[i]);
	return err;
}

/* A zombie must have died of what it is said to have died of: a signal that only stops would be waited for in vain. */
static int check_end(const struct rtask *k)
{
	static const int harmless[] = { SIGCHLD, SIGCONT, SIGURG, SIGWINCH, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU };
	uint32_t code, sig;

	if (k->role != RTASK_ZOMBIE)
		return 0;
	code = k->t->cores[0]->tc->exit_code;
	sig = code & 0x7f;
	for (size_t i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
		if ((int)sig == harmless[i])
			sig = UINT32_MAX;
	if (sig > 64 || code > 0xffff)
		return err_say(EINVAL, "task %d: its exit code 0x%x is none", k->pid, code);
	return 0;
}

/* Sorts tree->tasks so that each follows its creator, and numbers them. */
static int number(struct rtree *tree, struct rtask *root, struct arena *a)
{
	struct rtask **order = arena_alloc(a, tree->n * sizeof(*order));
	size_t n = 0;

	order[n++] = root;
	for (size_t i = 0; i < n; i++) {
		struct rtask *k = order[i];

		k->index = (uint32_t)i;
		for (size_t j = 0; j < k->nearly; j++)
			order[n++] = k->early[j];
		for (size_t j = 0; j < k->nlate; j++)
			order[n++] = k->late[j];
	}
	if (n < tree->n)
		return err_say(EINVAL, "the sessions of the tasks are mixed up: the image is damaged");
	tree->tasks = order;
	return 0;
}

static struct rtask *add_task(struct restoring *r, struct rtree *tree, const struct snap_task *t, struct rtask *parent)
{
	struct rtask *k = rtask_new(r, t->zombie ? RTASK_ZOMBIE : RTASK_ALIVE, (int32_t)t->pst->pid);

	k->t = t;
	k->pgid = (int32_t)t->pst->pgid;
	k->sid = (int32_t)t->pst->sid;
	k->parent = parent;
	if (!t->zombie)
		tree->nthreads += t->ncores;
	arena_add(r->a, &tree->tasks, &tree->n, k);
	return k;
}

static int place_all(struct restoring *r, struct rtree *tree, const struct rtask *root)
{
	int err = 0;

	for (size_t i = 0, n = tree->n; err >= 0 && i < n; i++) {
		struct rtask *k = tree->tasks[i];

		k->outside = k->sid == root->sid && root->sid != root->pid;
		if (k->outside && !r->opts->shell_job)
			return err_say(EINVAL, "task %d (%s): its session %d is outside of the image: use --shell-job (-j)",
				       k->pid, snap_comm(k->t), k->sid);
		err = check_end(k);
		if (err >= 0 && i)
			err = place(r, tree, k);
	}
	return err;
}

int rtree_build(struct restoring *r, struct rtree *ret_tree)
{
	struct rtask **made = arena_alloc(r->a, (r->snap->ntasks + 1) * sizeof(*made));
	struct rtree tree = { 0 };
	int err;

	for (size_t i = 0; i < r->snap->ntasks; i++) {
		const struct snap_task *t = r->snap->tasks[i];

		made[i] = add_task(r, &tree, t, t->parent ? made[t->parent->index] : NULL);
	}
	err = place_all(r, &tree, made[0]);
	if (err >= 0)
		err = add_groups(r, &tree);
	if (err >= 0)
		err = number(&tree, made[0], r->a);
	if (err >= 0)
		*ret_tree = tree;
	return err;
}
