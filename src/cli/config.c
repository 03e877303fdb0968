/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration files (config.h). Syntax as CRIU: NAME [VALUE] # comment, VALUE in double quotes with \" inside. */
#include "cli/config.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/option.h"

static char *skip_blanks(char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

/* Cuts the value that starts at s, in place; *ret_rest is what follows it. */
static int value_cut(char *s, char **ret_value, char **ret_rest)
{
	bool quoted = *s == '"';
	char *to = s, *from = quoted ? s + 1 : s;

	*ret_value = s;
	while (*from && (quoted ? *from != '"' : !isspace((unsigned char)*from) && *from != '#')) {
		if (quoted && from[0] == '\\' && from[1] == '"')
			from++;
		*to++ = *from++;
	}
	if (quoted && *from != '"')
		return err_say(EINVAL, "a quote is not closed");
	if (*from && *from != '#')
		from++;
	else if (*from == '#')
		*from = 0;
	*to = 0;
	*ret_rest = from;
	return 0;
}

/* Splits "NAME [VALUE] [# comment]"; *ret_name is "" for a line that says nothing. */
static int line_split(char *line, char **ret_name, char **ret_value)
{
	char *rest = line, *name = skip_blanks(line);
	int r;

	*ret_value = NULL;
	*ret_name = name;
	if (!*name || *name == '#') {
		*name = 0;
		return 0;
	}
	if (*name == '-')
		return err_say(EINVAL, "'%s': options are written without dashes here", name);
	r = value_cut(name, ret_name, &rest);
	if (r < 0)
		return r;
	rest = skip_blanks(rest);
	if (!*rest || *rest == '#')
		return 0;
	r = value_cut(rest, ret_value, &rest);
	if (r < 0)
		return r;
	rest = skip_blanks(rest);
	if (*rest && *rest != '#')
		return err_say(EINVAL, "'%s' follows the value of %s (a value with blanks needs double quotes)", rest, *ret_name);
	return 0;
}

static int line_apply(struct arena *a, char *line, struct opts *o)
{
	const struct option_row *row;
	char *name, *value;
	bool negated;
	int r = line_split(line, &name, &value);

	if (r < 0 || !*name)
		return r;
	row = option_find(name, &negated);
	if (!row)
		return err_say(EINVAL, "there is no option '%s'", name);
	if (row->group == GROUP_COMMON || (row->group == GROUP_HIDDEN && !row->refused))
		return err_say(EINVAL, "'%s' means nothing in a configuration file", name);
	if (value && (negated || !option_has_arg(row)))
		return err_say(EINVAL, "'%s' takes no value", name);
	if (!value && option_has_arg(row) && !option_arg_optional(row))
		return err_say(EINVAL, "'%s' needs a value: %s", name, row->arg);
	if (!option_takes(row, o->cmd))
		return 0;
	return option_store(a, row, negated, value ? arena_strdup(a, value) : NULL, o);
}

/* One that is missing or not ours to read is an error only if it must be there. */
static int file_apply(struct arena *a, const char *path, bool must_exist, struct opts *o)
{
	auto_free char *text = NULL;
	char *line, *next;
	ssize_t len = io_slurp(AT_FDCWD, path, &text);
	int r = 0, number = 0;

	/* $HOME may be another user's after su(1) */
	if (!must_exist && (len == -ENOENT || len == -ENOTDIR || len == -EACCES)) {
		err_clear();
		return 0;
	}
	if (len < 0)
		return err_ctx((int)len, "configuration file");
	for (line = text; line && r >= 0; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		number++;
		r = err_ctx(line_apply(a, line, o), "%s:%d", path, number);
	}
	return r;
}

int config_apply(struct arena *a, bool skip_defaults, const char *file, struct opts *o)
{
	const char *home = getenv("HOME"), *env = getenv("THAW_CONFIG_FILE");
	int r = 0;

	if (!skip_defaults)
		r = file_apply(a, "/etc/thaw/default.conf", false, o);
	if (r >= 0 && !skip_defaults && home && *home)
		r = file_apply(a, arena_printf(a, "%s/.thaw/default.conf", home), false, o);
	if (r >= 0 && env && *env)
		r = file_apply(a, env, true, o);
	if (r >= 0 && file)
		r = file_apply(a, file, true, o);
	return r;
}
