/* SPDX-License-Identifier: Apache-2.0 */
/* The option table, the command line and configuration files: what they store, and what they say when they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/cmdline.h"
#include "cli/config.h"
#include "cli/option.h"

static int setup(void **state)
{
	setenv("HOME", "/nonexistent", 1);
	unsetenv("THAW_CONFIG_FILE");
	*state = arena_new();
	return 0;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

/* Parses "thaw " + words (split at blanks) without the machine's default.conf. */
static int parse(struct arena *a, const char *words, struct opts *ret)
{
	char *argv[32] = { arena_strdup(a, "thaw") };
	char *word = strtok(arena_strdup(a, words), " ");
	int argc = 1;

	for (; word; word = strtok(NULL, " "))
		argv[argc++] = word;
	if (argc > 1)
		argv[argc++] = arena_strdup(a, "--no-default-config");
	return cmdline_parse(a, argc, argv, ret);
}

static struct opts good(void **state, const char *words)
{
	struct opts o;

	if (parse(*state, words, &o) < 0)
		fail_msg("thaw %s: %s", words, err_text());
	return o;
}

static void bad(void **state, const char *words, const char *sentence)
{
	struct opts o;

	if (parse(*state, words, &o) >= 0)
		fail_msg("thaw %s: accepted", words);
	if (!strstr(err_text(), sentence))
		fail_msg("thaw %s: '%s' is not in '%s'", words, sentence, err_text());
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		bool negated;

		assert_ptr_equal(option_find(row->name, &negated), row);
		assert_false(negated);
		if (row->type != OPTION_KNOWN && row->help[strlen(row->help) - 1] != '.')
			fail_msg("--%s: its help is no sentence", row->name);
		for (size_t k = 0; k < i && row->letter; k++)
			if (option_rows[k].letter == row->letter)
				fail_msg("--%s and --%s share a letter", row->name, option_rows[k].name);
	}
}

static void test_nothing(void **state)
{
	struct opts o = good(state, "");

	assert_int_equal(o.cmd, CMD_COUNT);
	assert_int_equal(good(state, "--help").cmd, CMD_COUNT);
	assert_true(good(state, "dump --help").help); /* although -t is missing */
	assert_true(good(state, "-V").version);
}

static void test_defaults(void **state)
{
	struct opts o = good(state, "dump -t 1");

	assert_int_equal(o.cmd, CMD_DUMP);
	assert_int_equal(o.tree, 1);
	assert_string_equal(o.images_dir, ".");
	assert_string_equal(o.work_dir, ".");
	assert_null(o.log_file);
	assert_int_equal(o.verbosity, 2);
	assert_int_equal(o.timeout, 10);
	assert_int_equal(o.ghost_limit, 1 << 20);
	assert_int_equal(o.parallel_restore, 0);
}

/* As others drive criu. */
static void test_criu_lines(void **state)
{
	struct opts o = good(state, "dump -L /usr/lib/criu --tree 7 --images-dir d --log-file dump.log --shell-job --ext-unix-sk "
				    "--link-remap --file-locks -vvvv --ghost-limit 2M");

	assert_int_equal(o.tree, 7);
	assert_string_equal(o.log_file, "d/dump.log");
	assert_true(o.shell_job && o.link_remap && o.file_locks && o.ext_unix_sk.any);
	assert_int_equal(o.verbosity, 4);
	assert_int_equal(o.ghost_limit, 2 << 20);
	o = good(state, "-v3 restore -t 7 -D d -W w -d -S --pidfile p -o /l --action-script a --action-script b");
	assert_int_equal(o.cmd, CMD_RESTORE);
	assert_true(o.restore_detached && o.restore_sibling);
	assert_string_equal(o.pidfile, "w/p");
	assert_string_equal(o.log_file, "/l");
	assert_int_equal(o.action_script.n, 2);
	assert_string_equal(o.action_script.item[1], "b");
	assert_int_equal(o.verbosity, 3);
}

static void test_values(void **state)
{
	assert_int_equal(good(state, "restore -v").verbosity, 3);
	assert_int_equal(good(state, "restore -v0").verbosity, 0);
	assert_int_equal(good(state, "restore --verbosity=9").verbosity, 4);
	assert_int_equal(good(state, "restore --parallel-restore=3").parallel_restore, 3);
	assert_int_equal(good(state, "restore --parallel-restore=3 --parallel-restore").parallel_restore, 0);
	assert_int_equal(good(state, "restore --parallel-restore=3 --disable-parallel-restore").parallel_restore, OPTS_SERIAL);
	assert_int_equal(good(state, "restore --disable-parallel-restore --parallel-restore").parallel_restore, 0);
	assert_false(good(state, "restore -d --no-restore-detached").restore_detached);
	assert_int_equal(good(state, "dump -t 1 --ghost-limit 3g").ghost_limit, 3ll << 30);
	assert_string_equal(good(state, "dump -t 1 -x7 -x8").ext_unix_sk.item[1], "8");
	assert_string_equal(good(state, "show /d").images_dir, "/d");
	assert_string_equal(good(state, "pre-dump -t 7 --prev-images-dir ../1").prev_images_dir, "../1");
	assert_true(good(state, "dump -t 7 -R --track-mem").track_mem);
	assert_int_equal(good(state, "dedup -D /d").cmd, CMD_DEDUP);
	assert_string_equal(good(state, "plan -D /d").images_dir, "/d");
	assert_int_equal(good(state, "dump -t 1 --manage-cgroups=ignore").manage_cgroups, 0);
	assert_true(good(state, "dump --tree=1 --leave-r").leave_running); /* short for --leave-running */
}

static void test_refusals(void **state)
{
	bad(state, "dump", "--tree PID is missing (see thaw dump --help)");
	bad(state, "dump -t", "--tree");
	bad(state, "dump -t 0", "--tree: 0 is not in 1..4194304 (see thaw dump --help)");
	bad(state, "dump -t 12x", "'12x' is not a number");
	bad(state, "dump -t 99999999999999999999", "too large");
	bad(state, "dump --tree= -D d", "empty");
	bad(state, "dump --bogus", "there is no option --bogus");
	bad(state, "dump -q", "there is no option -q");
	bad(state, "dump --json=1 -t 1", "--json takes no value");
	bad(state, "dump --json -t 1", "--json is not for dump (see thaw dump --help)");
	bad(state, "restore -R", "--leave-running is not for restore (see thaw restore --help)");
	bad(state, "restore -S", "--restore-sibling needs --restore-detached");
	bad(state, "dump -t 1 -R -s", "exclude each other");
	bad(state, "dump -t 1 extra", "'extra' is one word too many");
	bad(state, "show a b", "'b' is one word too many");
	bad(state, "dump -t 1 --ghost-limit 3X", "is not a size");
	bad(state, "dump -t 1 --ghost-limit -1", "is not a size");
	bad(state, "dump -t 1 --ghost-limit 9999999999G", "too large");
	bad(state, "restore --parallel-restore=0", "not in 1..1024");
	bad(state, "dump -t 1 --ext-unix-sk=foo", "'foo' is not a number");
	bad(state, "dumb", "there is no sub-command 'dumb' (see thaw --help)");
	bad(state, "pre-dump", "which process? --tree PID is missing");
	bad(state, "restore --track-mem", "--track-mem is not for restore");
	bad(state, "-v4", "a sub-command is missing (see thaw --help)");
}

static void test_not_yet(void **state)
{
	bad(state, "dump -t 1 --lazy-pages", "--lazy-pages is not supported yet (see thaw dump --help)");
	bad(state, "restore -r /", "--root is not supported yet");
	bad(state, "restore --root", "--root is not supported yet"); /* its missing value matters less */
	bad(state, "dump -t 1 --manage-cgroups=full", "--manage-cgroups=full is not supported yet");
	bad(state, "dump -t 1 --manage-cgroups=foo", "'foo' is not one of its words");
	bad(state, "dump -t 1 --page-io=foo", "'foo' is not one of its words (auto, read, uring, direct)");
	bad(state, "dump -t 1 --manage-cgroups", "--manage-cgroups needs a word");
	bad(state, "page-server -t 1", "page-server is not supported yet (see thaw --help)");
	for (size_t i = 0; i < option_count; i++)
		if (option_rows[i].refused) {
			char words[80], sentence[80];

			snprintf(words, sizeof(words), "dump -t 1 --%s", option_rows[i].name);
			snprintf(sentence, sizeof(sentence), "--%s is not supported yet", option_rows[i].name);
			bad(state, words, sentence);
		}
}

/* A configuration file with this text. */
static const char *config_make(struct arena *a, const char *text)
{
	char *path = arena_strdup(a, "/tmp/thaw-opts-XXXXXX");
	auto_close int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return path;
}

static void test_config(void **state)
{
	const char *path = config_make(*state, "# comment\n\n  leave-running # too\nverbosity 4\n"
					       "work-dir \"/a b/\\\"q\\\"/c\"\naction-script x#comment\nno-shell-job\n"
					       "parallel-restore 8\n\ttimeout\t7  ");
	char line[200];
	struct opts o;

	snprintf(line, sizeof(line), "dump -t 1 --timeout 5 --action-script y --config %s", path);
	o = good(state, line);
	assert_true(o.leave_running);
	assert_int_equal(o.verbosity, 4);
	assert_string_equal(o.work_dir, "/a b/\"q\"/c");
	assert_int_equal(o.timeout, 5); /* the line wins */
	assert_int_equal(o.action_script.n, 2);
	assert_string_equal(o.action_script.item[0], "x");
	assert_int_equal(o.parallel_restore, 0); /* not for dump: passed over */
	snprintf(line, sizeof(line), "restore --config %s", path);
	o = good(state, line);
	assert_int_equal(o.parallel_restore, 8);
	assert_false(o.leave_running);
	setenv("THAW_CONFIG_FILE", path, 1);
	assert_int_equal(good(state, "restore").timeout, 7);
	setenv("THAW_CONFIG_FILE", "/nonexistent/conf", 1);
	bad(state, "restore", "configuration file: open /nonexistent/conf: No such file");
	unsetenv("THAW_CONFIG_FILE");
	unlink(path);
}

static void test_config_refusals(void **state)
{
	static const struct { const char *line, *sentence; } c[] = {
		{ "tree", "'tree' needs a value: PID" },
		{ "tree x", "--tree: 'x' is not a number" },
		{ "bogus 4", "there is no option 'bogus'" },
		{ "leave-running yes", "'leave-running' takes no value" },
		{ "no-leave-running 1", "'no-leave-running' takes no value" },
		{ "--tree 4", "without dashes" },
		{ "work-dir \"abc", "a quote is not closed" },
		{ "work-dir a b", "'b' follows the value of work-dir" },
		{ "lazy-pages", "--lazy-pages is not supported yet" },
		{ "help", "means nothing in a configuration file" },
		{ "config x", "means nothing in a configuration file" },
		{ "man dump", "means nothing in a configuration file" },
	};

	for (size_t i = 0; i < ARRAY_LEN(c); i++) {
		char text[80], line[120], where[80];
		const char *path;

		snprintf(text, sizeof(text), "# first\n%s\n", c[i].line);
		path = config_make(*state, text);
		snprintf(line, sizeof(line), "dump -t 1 --config %s", path);
		snprintf(where, sizeof(where), "%s:2: ", path);
		bad(state, line, where);
		assert_non_null(strstr(err_text(), c[i].sentence));
		assert_null(strstr(err_text(), "--help"));
		unlink(path);
	}
}

static void test_config_home(void **state)
{
	char home[] = "/tmp/thaw-home-XXXXXX", cmd[120], *argv[] = { (char[]){ "thaw" }, (char[]){ "restore" } };
	struct opts o;

	assert_non_null(mkdtemp(home));
	snprintf(cmd, sizeof(cmd), "mkdir %s/.thaw && echo timeout 77 >%s/.thaw/default.conf", home, home);
	assert_int_equal(system(cmd), 0);
	setenv("HOME", home, 1);
	assert_int_equal(cmdline_parse(*state, 2, argv, &o), 0);
	assert_int_equal(o.timeout, 77);
	assert_int_equal(good(state, "restore").timeout, 10); /* --no-default-config */
	snprintf(cmd, sizeof(cmd), "rm -r %s", home);
	assert_int_equal(system(cmd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(test_criu_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_yet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config_home, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
