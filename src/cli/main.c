/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw's main(): one table of sub-commands, and the set-up they share.
 *
 * Runs single-threaded and before everything else. This is the only place
 * that prints a failure: the trail, once, on the log and on standard error.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "cli/cmd.h"
#include "cli/cmdline.h"
#include "cli/help.h"
#include "cli/privilege.h"

static int (*const run[CMD_COUNT])(const struct opts *o, int *ret_exit) = {
	[CMD_DUMP] = cmd_dump,
	[CMD_RESTORE] = cmd_restore,
	[CMD_CHECK] = cmd_check,
	[CMD_SHOW] = cmd_show,
	[CMD_PLAN] = cmd_plan,
	[CMD_PRE_DUMP] = cmd_pre_dump,
	[CMD_DEDUP] = cmd_dedup,
	[CMD_GPU_AGENT] = cmd_gpu_agent,
	[CMD_CUDA] = cmd_cuda,
	[CMD_RUN] = cmd_run,
};

/* Without 0-2 the next open() would get such a number, and an error message would land in an image. */
static void stdio_ensure(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int log_open(const struct opts *o)
{
	auto_close int fd = -1;

	if (o->log_file) {
		/* a dump makes its images directory itself, but the log is wanted before that */
		if ((o->cmd == CMD_DUMP || o->cmd == CMD_PRE_DUMP) && o->work_dir == o->images_dir &&
		    mkdir(o->images_dir, 0700) && errno != EEXIST)
			return err_set(errno, "make the directory %s", o->images_dir);
		fd = open(o->log_file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_set(errno, "log file %s", o->log_file);
	}
	log_init((enum log_level)o->verbosity, take_fd(&fd));
	log_info("thaw %s %s", THAW_VERSION, cmd_name(o->cmd));
	if (o->libdir)
		log_info("--libdir %s is ignored: thaw needs no plugins", o->libdir);
	return 0;
}

static int work(const struct opts *o, int *ret_exit)
{
	int r = log_open(o);

	if (r >= 0 && o->trace)
		r = trace_open(o->trace);
	if (r >= 0)
		r = run[o->cmd](o, ret_exit);
	if (o->trace)
		trace_close();
	return r;
}

/* thaw --man SUBCOMMAND | thaw */
static int man_print(const char *name)
{
	for (enum cmd cmd = 0; cmd < CMD_COUNT; cmd++)
		if (!strcmp(name, cmd_name(cmd))) {
			roff_print(cmd);
			return 0;
		}
	if (strcmp(name, "thaw"))
		return err_say(EINVAL, "there is no sub-command '%s'", name);
	roff_print(CMD_COUNT);
	return 0;
}

static int opts_run(const struct opts *o, int *ret_exit)
{
	if (o->man)
		return man_print(o->man);
	if (o->version)
		printf("thaw %s\n", THAW_VERSION);
	else if (o->help || o->cmd == CMD_COUNT)
		help_print(o->cmd);
	else
		return work(o, ret_exit);
	return 0;
}

/* A reader that went away (EPIPE) has had what it wanted; a full disk has not. */
static int output_finish(void)
{
	if (fflush(stdout) && errno != EPIPE)
		return err_set(errno, "standard output");
	return 0;
}

/* A link named cuda-checkpoint is `thaw cuda`. */
static void alias_apply(struct arena *a, int *argc, char ***argv)
{
	const char *name = *argc ? strrchr((*argv)[0], '/') : NULL;
	char **longer;

	if (!*argc || strcmp(name ? name + 1 : (*argv)[0], "cuda-checkpoint"))
		return;
	longer = arena_alloc(a, ((size_t)*argc + 2) * sizeof(*longer));
	longer[0] = (*argv)[0];
	longer[1] = arena_strdup(a, cmd_name(CMD_CUDA));
	memcpy(longer + 2, *argv + 1, (size_t)*argc * sizeof(*longer));
	*argv = longer;
	(*argc)++;
}

/* Not for run: its command would inherit all of this. */
static void process_prepare(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file over its limit is an error to tell, not an end */
	umask(077); /* images hold the memory of other people's processes */
}

int main(int argc, char **argv)
{
	struct arena *a = arena_new();
	char advice[PRIVILEGE_ADVICE_LEN];
	int exit_code = 0, r;
	struct opts o;
	char **given;

	stdio_ensure();
	alias_apply(a, &argc, &argv);
	given = arena_memdup(a, argv, ((size_t)argc + 1) * sizeof(*argv)); /* getopt_long() changes the order */
	r = cmdline_parse(a, argc, argv, &o);
	o.argv = given;
	if (o.cmd != CMD_RUN)
		process_prepare();
	if (r >= 0)
		r = opts_run(&o, &exit_code);
	if (r >= 0)
		r = output_finish();
	if (r < 0) {
		log_err("%s%s%s%s", cmd_name(o.cmd), o.cmd == CMD_COUNT ? "" : ": ", err_text(),
			privilege_advice(r, advice));
		exit_code = 1;
	}
	arena_free(a);
	return exit_code;
}
