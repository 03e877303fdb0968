/* SPDX-License-Identifier: Apache-2.0 */
/* Who creates whom: sessions and groups that fork() and setsid() can make, and those that no kernel ever had. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/opts.h"
#include "restore/tree.h"

struct row {
	uint32_t pid, ppid, pgid, sid;
	uint32_t dead;  /* a zombie: 0x10000 | its exit code */
	uint32_t thread; /* one more thread */
};

static CoreEntry *core_of(struct arena *a, uint32_t exit_code)
{
	CoreEntry *core = arena_msg(a, core_entry, CoreEntry);

	core->tc = arena_msg(a, task_core_entry, TaskCoreEntry);
	core->tc->comm = arena_strdup(a, "t");
	core->tc->exit_code = exit_code;
	return core;
}

static void add(struct snap *s, const struct row *row)
{
	struct arena *a = s->a;
	struct snap_task *t = arena_alloc(a, sizeof(*t));
	uint32_t *ids = arena_alloc(a, 2 * sizeof(*ids));
	CoreEntry *core = core_of(a, row->dead & 0xffff);

	t->pst = arena_msg(a, pstree_entry, PstreeEntry);
	t->pst->pid = ids[0] = row->pid;
	t->pst->ppid = row->ppid;
	t->pst->pgid = row->pgid;
	t->pst->sid = row->sid;
	ids[1] = row->thread;
	t->pst->threads = ids;
	arena_add(a, &t->cores, &t->ncores, core);
	if (row->thread)
		arena_add(a, &t->cores, &t->ncores, core);
	t->pst->n_threads = t->ncores;
	t->zombie = row->dead;
	t->index = s->ntasks;
	t->parent = row->ppid ? snap_task(s, row->ppid) : NULL;
	if (t->parent)
		arena_add(a, &t->parent->children, &t->parent->nchildren, t);
	arena_add(a, &s->tasks, &s->ntasks, t);
}

/* "1(2|3h)" : 1 creates 2 before its setsid(), and 3, a helper; s: with CLONE_PARENT, j: joins another's group */
static void draw(const struct rtask *k, char *text, size_t len)
{
	size_t at = strlen(text);

	snprintf(text + at, len - at, "%d%s%s%s", k->pid, k->role == RTASK_HELPER ? "h" : "", k->by_sibling ? "s" : "",
		 k->joins ? "j" : "");
	if (!k->nearly && !k->nlate)
		return;
	strncat(text, "(", len - strlen(text) - 1);
	for (size_t i = 0; i < k->nearly; i++) {
		strncat(text, i ? " " : "", len - strlen(text) - 1);
		draw(k->early[i], text, len);
	}
	if (k->nearly)
		strncat(text, "|", len - strlen(text) - 1);
	for (size_t i = 0; i < k->nlate; i++) {
		strncat(text, i ? " " : "", len - strlen(text) - 1);
		draw(k->late[i], text, len);
	}
	strncat(text, ")", len - strlen(text) - 1);
}

enum { ROWS = 6 };

static const struct {
	const char *name;
	bool shell_job;
	struct row row[ROWS];
	const char *tree; /* or NULL and a part of the sentence */
	const char *refused;
} cases[] = {
	{ "one", false, { { 10, 0, 10, 10, 0, 0 } }, "10", NULL },
	{ "a shell's job needs -j", false, { { 10, 0, 10, 5, 0, 0 } }, NULL, "--shell-job" },
	{ "a shell's job", true, { { 10, 0, 10, 5, 0, 0 }, { 11, 10, 10, 5, 0, 0 } }, "10(11j)", NULL },
	{ "a job in a pipeline whose first is outside", true, { { 10, 0, 9, 5, 0, 0 }, { 11, 10, 9, 5, 0, 0 } }, "10(11)", NULL },
	{ "outside, and groups of its own", true,
	  { { 10, 0, 9, 5, 0, 0 }, { 11, 10, 11, 5, 0, 0 }, { 12, 10, 11, 5, 0, 0 }, { 13, 10, 14, 5, 0, 0 } },
	  "10(11 12j 13j 14h)", NULL },
	{ "a child that was there before setsid", true, { { 10, 0, 9, 5, 0, 0 }, { 11, 10, 11, 11, 0, 0 }, { 12, 11, 9, 5, 0, 0 } },
	  "10(11(12|))", NULL },
	{ "a session whose leader died", false, { { 10, 0, 10, 10, 0, 0 }, { 12, 10, 11, 11, 0, 0 }, { 13, 10, 13, 11, 0, 0 } },
	  "10(11h(12sj 13s))", NULL },
	{ "a session whose leader is a zombie", false,
	  { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 11, 11, 0x10000, 0 }, { 12, 10, 11, 11, 0, 0 } }, "10(11(12sj))", NULL },
	{ "a group whose leader died", false, { { 10, 0, 10, 10, 0, 0 }, { 12, 10, 11, 10, 0, 0 }, { 13, 12, 11, 10, 0, 0 } },
	  "10(12j(13j) 11h)", NULL },
	{ "led by an uncle", false,
	  { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 10, 0, 0 }, { 12, 10, 12, 12, 0, 0 }, { 13, 11, 13, 12, 0, 0 } },
	  NULL, "session 12" },
	{ "sessions in a ring", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 11, 12, 0, 0 }, { 12, 10, 12, 11, 0, 0 } }, NULL,
	  "session 12" },
	{ "led by a member of another session", false,
	  { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 10, 0, 0 }, { 12, 10, 12, 11, 0, 0 } }, NULL, "session 11" },
	{ "no session", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 11, 0, 0, 0 } }, NULL, "session 0" },
	{ "no group", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 0, 10, 0, 0 } }, NULL, "group 0" },
	{ "a session with a thread's number", false, { { 10, 0, 10, 10, 0, 7 }, { 11, 10, 11, 7, 0, 0 } }, NULL, "session 7" },
	{ "a group with a thread's number", false, { { 10, 0, 10, 10, 0, 7 }, { 11, 10, 7, 10, 0, 0 } }, NULL, "group 7" },
	{ "a group in two sessions", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 11, 11, 0, 0 }, { 12, 10, 11, 10, 0, 0 } }, NULL,
	  "group 11" },
	{ "a session leader in another's group", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 11, 0, 0 } }, NULL, "group 10" },
	{ "a leader that left its group", false,
	  { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 10, 0, 0 }, { 12, 10, 11, 10, 0, 0 } }, NULL, "left process group 11" },
	{ "a zombie that exited", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 10, 0x10000 | 0x300, 0 } }, "10(11j)", NULL },
	{ "a zombie that dumped core", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 10, 0x10000 | 0x8b, 0 } }, "10(11j)", NULL },
	{ "a zombie that only stopped", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 10, 0x10000 | 19, 0 } }, NULL, "exit code" },
	{ "a zombie of no signal", false, { { 10, 0, 10, 10, 0, 0 }, { 11, 10, 10, 10, 0x10000 | 0x7f, 0 } }, NULL, "exit code" },
};

static void one(size_t c)
{
	struct snap *s = snap_new();
	struct opts o = { .shell_job = cases[c].shell_job };
	struct restoring r = { .opts = &o, .snap = s, .a = s->a };
	struct rtree tree;
	char text[256] = "";
	int err;

	print_message("%s\n", cases[c].name);
	for (size_t i = 0; i < ROWS && cases[c].row[i].pid; i++)
		add(s, &cases[c].row[i]);
	err = rtree_build(&r, &tree);
	if (cases[c].tree) {
		assert_string_equal(err_text(), "");
		assert_int_equal(err, 0);
		draw(tree.tasks[0], text, sizeof(text));
		assert_string_equal(text, cases[c].tree);
		for (size_t i = 0; i < tree.n; i++)
			assert_int_equal(tree.tasks[i]->index, i);
	} else {
		assert_true(err < 0);
		print_message("  %s\n", err_text());
		assert_non_null(strstr(err_text(), cases[c].refused));
	}
	err_clear();
	snap_free(s);
}

static void trees(void **state)
{
	(void)state;
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
		one(c);
}

/* Any image that can be read ends in a sentence, or in a tree in which each of its tasks is once, after its creator. */
static void any_tree(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct snap *s = snap_new();
		struct opts o = { .shell_job = round & 1 };
		struct restoring r = { .opts = &o, .snap = s, .a = s->a };
		struct rtree tree;
		uint32_t n = 2 + (uint32_t)round % 5;

		for (uint32_t i = 0; i < n; i++) {
			uint32_t v[4];

			for (int k = 0; k < 4; k++)
				v[k] = (seed = seed * 1664525 + 1013904223) >> 16;
			add(s, &(struct row){ 10 + i, i ? 10 + v[0] % i : 0, v[1] % 3 ? 9 + v[1] % (n + 2) : 10 + i,
					      v[2] % 3 ? 9 + v[2] % (n + 2) : 10 + i, 0, 0 });
		}
		if (rtree_build(&r, &tree) >= 0) {
			uint32_t created = 1;

			for (size_t i = 0; i < tree.n; i++) {
				const struct rtask *k = tree.tasks[i];

				assert_int_equal(k->index, i);
				created += (uint32_t)(k->nearly + k->nlate);
				for (size_t j = 0; j < k->nlate; j++)
					assert_true(k->late[j]->index > i);
				for (size_t j = 0; j < k->nearly; j++)
					assert_true(k->early[j]->index > i);
			}
			assert_int_equal(created, tree.n);
			assert_true(tree.n >= n);
		}
		snap_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(trees), cmocka_unit_test(any_tree) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
