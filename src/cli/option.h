/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of opts.def at run time: looking them up, and storing a value where a row says. */
#ifndef CLI_OPTION_H
#define CLI_OPTION_H

#include "base/arena.h"
#include "base/opts.h"

enum option_type {
	OPTION_FLAG, OPTION_INT, OPTION_COUNT, OPTION_SIZE, OPTION_TEXT, OPTION_LIST, OPTION_WORD, OPTION_CONST,
	OPTION_KNOWN, /* a name of CRIU's without a field */
};

enum option_group {
	GROUP_TREE, GROUP_PLACE, GROUP_FILES, GROUP_MEMORY, GROUP_GPU, GROUP_HOOKS, GROUP_OUTPUT, GROUP_COMMON,
	GROUP_HIDDEN,
};

struct option_row {
	const char *name;
	int letter; /* 0: none */
	enum option_type type;
	bool refused;
	enum option_group group;
	unsigned cmds; /* bit 1 << enum cmd */
	const char *arg; /* "" none, "X" needed, "[=X]" may follow */
	const char *help;
	size_t offset; /* of the field in struct opts */
	int value;     /* INT: without an argument; CONST: always */
	int64_t least, most; /* both 0: any */
	const char *const *word; /* NULL-terminated */
	size_t n_works;
};

/* The built and refused rows in the table's order, then the known names. */
extern const struct option_row option_rows[];
extern const size_t option_count;

/* Heading of a group in help and man pages. */
const char *option_heading(enum option_group group);

static inline bool option_takes(const struct option_row *row, enum cmd cmd)
{
	return cmd == CMD_COUNT || row->cmds & 1u << cmd;
}

static inline bool option_has_arg(const struct option_row *row)
{
	return row->arg[0];
}

static inline bool option_arg_optional(const struct option_row *row)
{
	return row->arg[0] == '[';
}

/* "--no-NAME" exists. */
bool option_negatable(const struct option_row *row);

/* The row of a long name; *ret_negated says that it was written as no-NAME. NULL: no such option. */
const struct option_row *option_find(const char *name, bool *ret_negated);

/*
 * Stores value (NULL: none was given) in o; refuses what is not built and what
 * is out of limits. List items live in the arena, texts where value lives.
 */
int option_store(struct arena *a, const struct option_row *row, bool negated, const char *value,
		 struct opts *o) must_check;

#endif
