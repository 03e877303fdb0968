/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line (cmdline.h).
 *
 * Words are first collected, then applied: only the complete line tells the
 * sub-command (options may stand before it, as in CRIU) and the configuration
 * files that come before the line's own options.
 */
#include "cli/cmdline.h"

#include <getopt.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/config.h"
#include "cli/option.h"

/* getopt_long() values of long options: the row's index, above all letters; negated ones above these. */
enum { VALUE_LONG = 0x1000, VALUE_NO = 0x2000 };

struct given {
	const struct option_row *row;
	const char *value;
	bool negated;
};

struct words {
	struct arena *a;
	struct option *longs;
	char *shorts;
	struct given **given;
	size_t n_given;
	char **other; /* what is no option: the sub-command, then what follows it */
	size_t n_other;
	bool run; /* the first word that is no option begins somebody else's line */
	bool in_config; /* errors name the file, help would not */
};

/* CRIU's sub-commands that thaw does not have, so that the refusal can say so. */
static const char *const known_cmds[] = {
	"page-server", "lazy-pages", "service", "swrk", "cpuinfo", "exec",
};

static int arg_kind(const struct option_row *row)
{
	if (!option_has_arg(row))
		return no_argument;
	return option_arg_optional(row) ? optional_argument : required_argument;
}

/* getopt_long()'s own tables, from ours. */
static void tables_make(struct words *w)
{
	struct option *to;
	char *letter;

	w->longs = to = arena_alloc(w->a, (2 * option_count + 1) * sizeof(*to));
	w->shorts = letter = arena_alloc(w->a, 3 * option_count + 3);
	if (w->run)
		*letter++ = '+';
	*letter++ = ':';
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];

		*to++ = (struct option){ row->name, arg_kind(row), NULL, VALUE_LONG + (int)i };
		if (option_negatable(row))
			*to++ = (struct option){ arena_printf(w->a, "no-%s", row->name), no_argument, NULL,
						 VALUE_NO + (int)i };
		if (!row->letter)
			continue;
		*letter++ = (char)row->letter;
		for (int k = arg_kind(row); k > 0; k--)
			*letter++ = ':';
	}
}

static const struct option_row *row_of(int value)
{
	if (value >= VALUE_LONG)
		return &option_rows[value & (VALUE_LONG - 1)];
	for (size_t i = 0; i < option_count; i++)
		if (option_rows[i].letter == value)
			return &option_rows[i];
	return NULL;
}

/* Why getopt_long() stopped at word. */
static int word_refuse(int why, const char *word)
{
	const struct option_row *row = optopt ? row_of(optopt) : NULL;

	if (row && row->refused)
		return err_say(ENOTSUP, "--%s is not supported yet", row->name);
	if (why == ':' && row)
		return err_say(EINVAL, "--%s needs a value: %s", row->name, row->arg);
	if (row)
		return err_say(EINVAL, "--%s takes no value", row->name);
	if (optopt)
		return err_say(EINVAL, "there is no option -%c", optopt);
	return err_say(EINVAL, "there is no option %s, or it is short for several", word);
}

static int words_collect(struct words *w, int argc, char **argv)
{
	int c;

	optind = 0; /* starts getopt_long() afresh, also after an earlier line */
	opterr = 0;
	while ((c = getopt_long(argc, argv, w->shorts, w->longs, NULL)) != -1) {
		struct given *g;

		if (c == '?' || c == ':')
			return word_refuse(c, argv[optind - 1]);
		g = arena_alloc(w->a, sizeof(*g));
		*g = (struct given){ row_of(c), optarg, c >= VALUE_NO };
		arena_add(w->a, &w->given, &w->n_given, g);
	}
	for (; optind < argc; optind++)
		arena_add(w->a, &w->other, &w->n_other, argv[optind]);
	return 0;
}

static enum cmd cmd_by_name(const char *name)
{
	enum cmd cmd = 0;

	while (cmd < CMD_COUNT && strcmp(name, cmd_name(cmd)))
		cmd++;
	return cmd;
}

static int cmd_find(const struct words *w, enum cmd *ret_cmd)
{
	const char *name = w->n_other ? w->other[0] : NULL;

	*ret_cmd = name ? cmd_by_name(name) : CMD_COUNT;
	if (!name || *ret_cmd != CMD_COUNT)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(known_cmds); i++)
		if (!strcmp(name, known_cmds[i]))
			return err_say(ENOTSUP, "%s is not supported yet", name);
	return err_say(EINVAL, "there is no sub-command '%s'", name);
}

static int given_apply(struct words *w, struct opts *o)
{
	for (size_t i = 0; i < w->n_given; i++) {
		const struct given *g = w->given[i];
		int r;

		if (!g->row->refused && !option_takes(g->row, o->cmd))
			return err_say(EINVAL, "--%s is not for %s", g->row->name, cmd_name(o->cmd));
		r = option_store(w->a, g->row, g->negated, g->value, o);
		if (r < 0)
			return r;
	}
	return 0;
}

/* show and plan take the images directory as a word of its own as well, run a whole command. */
static int other_apply(const struct words *w, struct opts *o)
{
	bool dir = o->cmd == CMD_SHOW || o->cmd == CMD_PLAN;

	if (o->cmd == CMD_RUN) {
		o->run_argv = arena_alloc(w->a, w->n_other * sizeof(*o->run_argv)); /* one less, and NULL */
		memcpy(o->run_argv, w->other + 1, (w->n_other - 1) * sizeof(*o->run_argv));
		return 0;
	}
	if (dir && w->n_other > 1)
		o->images_dir = w->other[1];
	if (w->n_other > (dir ? 2 : 1))
		return err_say(EINVAL, "'%s' is one word too many", w->other[dir ? 2 : 1]);
	return 0;
}

static int cuda_opts_check(const struct opts *o)
{
	if ((o->action >= 0) + o->toggle + o->get_state + o->get_restore_tid != 1)
		return err_say(EINVAL, "one of --action, --toggle, --get-state and --get-restore-tid is needed");
	if (!o->pid)
		return err_say(EINVAL, "which process? --pid PID is missing");
	return 0;
}

/* What one row cannot say alone. */
static int opts_check(const struct opts *o)
{
	if (o->cmd == CMD_COUNT)
		return err_say(EINVAL, "a sub-command is missing");
	if ((o->cmd == CMD_DUMP || o->cmd == CMD_PRE_DUMP) && !o->tree)
		return err_say(EINVAL, "which process? --tree PID is missing");
	if (o->cmd == CMD_RUN && !o->run_argv[0])
		return err_say(EINVAL, "which command? thaw run [--] COMMAND [ARGUMENT]...");
	if (o->leave_running && o->leave_stopped)
		return err_say(EINVAL, "--leave-running and --leave-stopped exclude each other");
	if (o->restore_sibling && !o->restore_detached)
		return err_say(EINVAL, "--restore-sibling needs --restore-detached");
	if (o->cmd == CMD_CUDA)
		return cuda_opts_check(o);
	return 0;
}

static const char *work_path(struct arena *a, const struct opts *o, const char *path)
{
	if (!path || *path == '/')
		return path;
	return arena_printf(a, "%s/%s", o->work_dir, path);
}

static void paths_finish(struct arena *a, struct opts *o)
{
	if (!o->work_dir)
		o->work_dir = o->images_dir;
	o->log_file = work_path(a, o, o->log_file);
	o->pidfile = work_path(a, o, o->pidfile);
}

/* The line alone decides which files are read before it. */
static int sources_apply(struct words *w, struct opts *ret)
{
	struct opts line = *ret;
	int r = given_apply(w, &line);

	if (r < 0 || line.help || line.version || line.man) {
		*ret = line;
		return r;
	}
	w->in_config = true;
	r = config_apply(w->a, line.no_default_config, line.config, ret);
	if (r < 0)
		return r;
	w->in_config = false;
	r = given_apply(w, ret);
	if (r >= 0)
		r = other_apply(w, ret);
	if (r >= 0)
		r = opts_check(ret);
	if (r >= 0)
		paths_finish(w->a, ret);
	return r;
}

static int hint_add(struct arena *a, enum cmd cmd, int r)
{
	const char *blank = cmd == CMD_COUNT ? "" : " ";

	return err_adopt(-r, arena_printf(a, "%s (see thaw %s%s--help)", err_text(), cmd_name(cmd), blank));
}

int cmdline_parse(struct arena *a, int argc, char **argv, struct opts *ret)
{
	struct words w = { .a = a };
	int r;

	*ret = opts_default();
	if (argc <= 1)
		return 0;
	ret->cmd = cmd_by_name(argv[1]); /* for the hint, should the line not be understood */
	w.run = ret->cmd == CMD_RUN;
	tables_make(&w);
	if (w.run)
		arena_add(a, &w.other, &w.n_other, argv[1]);
	r = words_collect(&w, argc - w.run, argv + w.run);
	if (r >= 0)
		r = cmd_find(&w, &ret->cmd);
	if (ret->cmd == CMD_CUDA)
		ret->timeout = 0; /* as with NVIDIA's tool: no limit unless one is given */
	if (r >= 0)
		r = sources_apply(&w, ret);
	return r < 0 && !w.in_config ? hint_add(a, ret->cmd, r) : r;
}
