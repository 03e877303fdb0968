/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the user asked for: one struct, filled once by the command line or an
 * RPC request and passed down as `const struct opts *`. Its fields are the rows of opts.def.
 */
#ifndef BASE_OPTS_H
#define BASE_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CMD_COUNT also stands for "no sub-command" (thaw --help). */
enum cmd {
	CMD_DUMP, CMD_RESTORE, CMD_CHECK, CMD_SHOW, CMD_PLAN, CMD_PRE_DUMP, CMD_DEDUP, CMD_GPU_AGENT, CMD_CUDA, CMD_RUN,
	CMD_COUNT
};

/* opts.parallel_restore: 0 lets thaw choose, 1 and more is a number of workers, this is the path without workers. */
enum { OPTS_SERIAL = -1 };

/* opts.cpu_cap: the word's place. */
enum { CPU_CAP_FPU, CPU_CAP_NONE };

/* opts.page_io: the word's place; enum pie_io (pie/prog.h) has the same order. */
enum { PAGE_IO_AUTO, PAGE_IO_READ, PAGE_IO_URING, PAGE_IO_DIRECT };

/* A repeatable option, in the order given. */
struct opt_list {
	const char **item;
	size_t n;
	bool any; /* given at least once without a value */
};

#define OPT_FIELD_FLAG(field)  bool field;
#define OPT_FIELD_INT(field)   int field;
#define OPT_FIELD_COUNT(field) int field;
#define OPT_FIELD_WORD(field)  int field;
#define OPT_FIELD_SIZE(field)  uint64_t field;
#define OPT_FIELD_TEXT(field)  const char *field;
#define OPT_FIELD_LIST(field)  struct opt_list field;
#define OPT_FIELD_CONST(field)

/*
 * Paths are ready to be opened: work_dir is never NULL after parsing, and
 * pidfile and log_file already lead into it.
 */
struct opts {
	enum cmd cmd;
	char **argv;     /* all that thaw was called with, up to NULL */
	char **run_argv; /* run: the command and its arguments, up to NULL */
#define OPT(type, name, letter, field, ...) OPT_FIELD_##type(field)
#define KNOWN(...)
#include "base/opts.def"
};

#define OPT_INIT_FLAG(field, value)  .field = (value),
#define OPT_INIT_INT(field, value)   .field = (value),
#define OPT_INIT_COUNT(field, value) .field = (value),
#define OPT_INIT_WORD(field, value)  .field = (value),
#define OPT_INIT_SIZE(field, value)  .field = (value),
#define OPT_INIT_TEXT(field, value)  .field = (value),
#define OPT_INIT_LIST(field, value)  .field = value,
#define OPT_INIT_CONST(field, value)

/* What holds when nothing was asked for. */
static inline struct opts opts_default(void)
{
	return (struct opts){
		.cmd = CMD_COUNT,
#define OPT(type, name, letter, field, value, ...) OPT_INIT_##type(field, value)
#define KNOWN(...)
#include "base/opts.def"
	};
}

static inline const char *cmd_name(enum cmd cmd)
{
	static const char *const name[] = { "dump", "restore", "check", "show", "plan", "pre-dump", "dedup", "gpu-agent",
					    "cuda", "run" };

	return cmd < CMD_COUNT ? name[cmd] : "";
}

#endif
