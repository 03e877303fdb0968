/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table at run time (option.h). This file alone gives the columns of
 * opts.def a meaning; everything else works on struct option_row.
 */
#include "cli/option.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum {
	DUMP = 1 << CMD_DUMP,
	RESTORE = 1 << CMD_RESTORE,
	CHECK = 1 << CMD_CHECK,
	SHOW = 1 << CMD_SHOW,
	PLAN = 1 << CMD_PLAN,
	PRE_DUMP = 1 << CMD_PRE_DUMP,
	DEDUP = 1 << CMD_DEDUP,
	GPU_AGENT = 1 << CMD_GPU_AGENT,
	CUDA = 1 << CMD_CUDA,
	RUN = 1 << CMD_RUN,
	IMAGES = DUMP | RESTORE | CHECK | SHOW | PLAN | PRE_DUMP | DEDUP,
	ANY = IMAGES | GPU_AGENT | CUDA | RUN,
};
enum { BUILT = false, REFUSED = true };

#define NONE               .least = 0
#define RANGE(lo, hi)      .least = (lo), .most = (hi)
#define WORDS(works, ...)  .n_works = (works), .word = (const char *const[]){ __VA_ARGS__, NULL }

/* The default column as an int: what an INT without its optional argument, or a CONST, stores. */
#define VALUE_FLAG(v)  0
#define VALUE_INT(v)   (v)
#define VALUE_COUNT(v) 0
#define VALUE_SIZE(v)  0
#define VALUE_TEXT(v)  0
#define VALUE_LIST(v)  0
#define VALUE_WORD(v)  0
#define VALUE_CONST(v) (v)

const struct option_row option_rows[] = {
#define OPT(type_, name_, letter_, field_, default_, limits_, cmds_, arg_, state_, group_, help_)                   \
	{ .name = (name_), .letter = (letter_), .type = OPTION_##type_, .refused = (state_), .cmds = (cmds_),        \
	  .arg = (arg_), .group = GROUP_##group_, .help = (help_), .offset = offsetof(struct opts, field_),          \
	  .value = VALUE_##type_(default_), limits_ },
#define KNOWN(name_, letter_, arg_)                                                                                \
	{ .name = (name_), .letter = (letter_), .type = OPTION_KNOWN, .refused = true, .cmds = ANY, .arg = (arg_),   \
	  .group = GROUP_HIDDEN, .help = "" },
#include "base/opts.def"
};
const size_t option_count = ARRAY_LEN(option_rows);

const char *option_heading(enum option_group group)
{
	static const char *const heading[] = {
		[GROUP_TREE] = "Processes", [GROUP_PLACE] = "Directories", [GROUP_FILES] = "Files, sockets, groups",
		[GROUP_MEMORY] = "Memory",  [GROUP_GPU] = "GPUs", [GROUP_HOOKS] = "Hooks",       [GROUP_OUTPUT] = "Output",
		[GROUP_COMMON] = "General", [GROUP_HIDDEN] = "",
	};

	return heading[group];
}

bool option_negatable(const struct option_row *row)
{
	return row->type == OPTION_FLAG && strncmp(row->name, "no-", 3) && row->group != GROUP_COMMON;
}

const struct option_row *option_find(const char *name, bool *ret_negated)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_row *row = &option_rows[i];
		bool negated = option_negatable(row) && !strncmp(name, "no-", 3) && !strcmp(name + 3, row->name);

		if (!negated && strcmp(name, row->name))
			continue;
		*ret_negated = negated;
		return row;
	}
	return NULL;
}

static int limits_check(const struct option_row *row, const char *value, int64_t n)
{
	if ((row->least || row->most) && (n < row->least || n > row->most))
		return err_say(EINVAL, "--%s: %s is not in %" PRId64 "..%" PRId64, row->name, value, row->least,
			       row->most);
	return 0;
}

/* A whole number within the row's limits. */
static int number_parse(const struct option_row *row, const char *value, int64_t *ret_n)
{
	char *end;
	long long n;
	int r;

	errno = 0;
	n = strtoll(value, &end, 10);
	if (end == value || *end || isspace((unsigned char)*value))
		return err_say(EINVAL, "--%s: '%s' is not a number", row->name, value);
	if (errno)
		return err_say(ERANGE, "--%s: %s is too large", row->name, value);
	r = limits_check(row, value, n);
	if (r == 0)
		*ret_n = n;
	return r;
}

/* Digits and at most one of K, M, G. */
static int size_parse(const struct option_row *row, const char *value, uint64_t *ret_size)
{
	static const char unit[] = "KMG";
	char *end;
	uint64_t n;
	int shift = 0;

	/* rows with a size need an argument, which the analyzer does not see */
	if (!isdigit((unsigned char)*value)) // NOLINT(clang-analyzer-core.NullDereference)
		return err_say(EINVAL, "--%s: '%s' is not a size (a number, then K, M or G)", row->name, value);
	errno = 0;
	n = strtoull(value, &end, 10);
	if (*end) {
		const char *at = strchr(unit, toupper((unsigned char)*end));

		if (!at || end[1])
			return err_say(EINVAL, "--%s: '%s' is not a size (a number, then K, M or G)", row->name, value);
		shift = 10 * (int)(at - unit + 1);
	}
	if (errno || n > (uint64_t)INT64_MAX >> shift)
		return err_say(ERANGE, "--%s: %s is too large", row->name, value);
	*ret_size = n << shift;
	return limits_check(row, value, (int64_t)*ret_size);
}

static int refuse_word(const struct option_row *row, const char *value)
{
	char words[128] = "";

	for (size_t i = 0, at = 0; i < row->n_works && at < sizeof(words) && row->word[i]; i++)
		at += (size_t)snprintf(words + at, sizeof(words) - at, "%s%s", i ? ", " : "", row->word[i]);
	return err_say(EINVAL, "--%s: '%s' is not one of its words (%s)", row->name, value, words);
}

static int word_parse(const struct option_row *row, const char *value, int *ret_place)
{
	if (!value)
		return err_say(EINVAL, "--%s needs a word: --%s=%s", row->name, row->name, row->word[0]);
	for (size_t i = 0; row->word[i]; i++) {
		if (strcmp(value, row->word[i]))
			continue;
		if (i >= row->n_works)
			return err_say(ENOTSUP, "--%s=%s is not supported yet", row->name, value);
		*ret_place = (int)i;
		return 0;
	}
	return refuse_word(row, value);
}

/* -v: one more; -vvv arrives as the value "vv"; else a number, and a number above the last level means the last. */
static int count_store(const struct option_row *row, const char *value, int *count)
{
	int64_t n = *count;
	struct option_row open = *row;
	int r = 0;

	if (!value)
		n++;
	else if (strspn(value, "v") == strlen(value))
		n += 1 + (int64_t)strlen(value);
	else {
		open.most = INT32_MAX;
		r = number_parse(&open, value, &n);
	}
	if (r < 0)
		return r;
	*count = (int)(n > row->most ? row->most : n);
	return 0;
}

static int int_store(const struct option_row *row, const char *value, int *ret_int)
{
	int64_t n = row->value;
	int r = value ? number_parse(row, value, &n) : 0;

	if (r == 0)
		*ret_int = (int)n;
	return r;
}

/* With limits the items are numbers. */
static int list_store(struct arena *a, const struct option_row *row, const char *value, struct opt_list *list)
{
	int64_t n;
	int r = 0;

	if (!value) {
		list->any = true;
		return 0;
	}
	if (row->most)
		r = number_parse(row, value, &n);
	if (r == 0)
		arena_add(a, &list->item, &list->n, arena_strdup(a, value));
	return r;
}

int option_store(struct arena *a, const struct option_row *row, bool negated, const char *value, struct opts *o)
{
	void *field = (char *)o + row->offset;

	if (row->refused && !negated)
		return err_say(ENOTSUP, "--%s is not supported yet", row->name);
	if (!value && option_has_arg(row) && !option_arg_optional(row))
		return err_say(EINVAL, "--%s needs a value: %s", row->name, row->arg);
	if (value && !*value && row->type != OPTION_COUNT)
		return err_say(EINVAL, "--%s: its value is empty", row->name);
	switch (row->type) {
	case OPTION_FLAG:
		*(bool *)field = !negated;
		return 0;
	case OPTION_INT:
		return int_store(row, value, field);
	case OPTION_COUNT:
		return count_store(row, value, field);
	case OPTION_SIZE:
		return size_parse(row, value, field);
	case OPTION_TEXT:
		*(const char **)field = value;
		return 0;
	case OPTION_LIST:
		return list_store(a, row, value, field);
	case OPTION_WORD:
		return word_parse(row, value, field);
	case OPTION_CONST:
		*(int *)field = row->value;
		return 0;
	case OPTION_KNOWN:
		break;
	}
	return 0;
}
