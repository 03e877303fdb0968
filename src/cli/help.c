/* SPDX-License-Identifier: Apache-2.0 */
/* --help (help.h): what a sub-command does, how it is used, and its rows of the option table. */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "cli/option.h"

enum { INDENT = 26, WIDTH = 96 };

static const struct {
	const char *summary, *usage, *about, *examples;
} text[CMD_COUNT] = {
	[CMD_DUMP] = {
		"write a process tree to an image directory",
		"thaw dump -t PID [-D DIR] [OPTION]...",
		"Stops the process PID and all its descendants, writes everything that makes them up to images in\n"
		"CRIU's format, and kills them (see -R and -s). Whatever fails, the processes go on as if nothing\n"
		"had happened, and no directory is left that looks restorable.",
		"  thaw dump -t 1234 -D /var/ckpt                     dump process 1234 and its children\n"
		"  thaw dump -t 1234 -D /var/ckpt -R -v3 -o dump.log  the same, let it run on, write a log\n"
		"  thaw dump -t 1234 -D /var/ckpt --shell-job         a job started from this terminal\n",
	},
	[CMD_RESTORE] = {
		"bring a dumped process tree back to life",
		"thaw restore [-D DIR] [OPTION]...",
		"Creates the processes in DIR again, under their old PIDs, and sets them going. Memory is filled\n"
		"by several workers at once. Images written by thaw and by CRIU 4.x are understood. If anything\n"
		"fails, nothing is left behind.",
		"  thaw restore -D /var/ckpt -d                       restore, leave the processes running, return\n"
		"  thaw restore -D /var/ckpt                          restore, wait for the root process to end\n"
		"  thaw restore -D /var/ckpt -d --parallel-restore=8  with eight memory workers\n",
	},
	[CMD_CHECK] = {
		"say what this kernel and these privileges allow",
		"thaw check [--json]",
		"Tries each kernel feature that thaw uses and prints one line for it: there, or missing and what\n"
		"that costs. Exits 0 if everything that is required is there, else 1.",
		"  thaw check\n"
		"  thaw check --json | jq '.[] | select(.ok | not)'\n",
	},
	[CMD_SHOW] = {
		"say what is inside an image directory",
		"thaw show [DIR] [--json]",
		"Prints tasks, threads, memory by kind of mapping and descriptors of the images in DIR. Nothing is\n"
		"restored, and no privileges are needed.",
		"  thaw show /var/ckpt\n"
		"  thaw show /var/ckpt --json\n",
	},
	[CMD_PLAN] = {
		"say what a restore would do, in order",
		"thaw plan [DIR] [OPTION]...",
		"Prints the plan that thaw restore would carry out with the images in DIR: who creates what, where\n"
		"and after what, and how many workers would fill how many bytes. Nothing is restored.",
		"  thaw plan /var/ckpt\n"
		"  thaw plan /var/ckpt --pie                          also the program each task would run\n",
	},
	[CMD_PRE_DUMP] = {
		"write the memory of a process tree that goes on running",
		"thaw pre-dump -t PID [-D DIR] [--prev-images-dir DIR] [OPTION]...",
		"Writes memory alone to DIR while the processes run on (they stand still only for a moment, in which\n"
		"tracking of what they write begins). A later pre-dump or dump with --prev-images-dir stores just\n"
		"what has changed since, so the processes stand still for as short as that takes.",
		"  thaw pre-dump -t 1234 -D /var/ckpt/1\n"
		"  thaw pre-dump -t 1234 -D /var/ckpt/2 --prev-images-dir ../1\n"
		"  thaw dump -t 1234 -D /var/ckpt/3 --prev-images-dir ../2\n",
	},
	[CMD_DEDUP] = {
		"free what newer images hold anew",
		"thaw dedup [-D DIR]",
		"Frees, in the images that DIR builds upon, the space of pages that DIR or another newer one of them\n"
		"holds anew. Only the newest images can be restored then.",
		"  thaw dedup -D /var/ckpt/3\n",
	},
	[CMD_GPU_AGENT] = {
		"serve GPU steps from one warm process",
		"thaw gpu-agent [--status [--json]] [OPTION]...",
		"Loads NVIDIA's driver, keeps contexts and buffers ready on every GPU, and moves the GPU state of CUDA\n"
		"processes out and in for thaw dump, restore and cuda. They start it when they need one; as a service\n"
		"it is there before. SIGTERM ends it.",
		"  thaw gpu-agent -v3                                 serve, log to this terminal\n"
		"  thaw gpu-agent --status                            what the agent that runs has and does\n",
	},
	[CMD_RUN] = {
		"start a program whose GPU memory thaw can move by itself",
		"thaw run [OPTION]... [--] COMMAND [ARGUMENT]...",
		"Starts COMMAND in place of thaw with a library preloaded that stands between the program and NVIDIA's\n"
		"driver. Its large GPU allocations are then dumped and restored at the speed of PCIe, beside everything\n"
		"else, instead of by the driver and in turn. The program is as before in every other way.",
		"  thaw run -- python3 serve.py                       and later: thaw dump -t PID\n",
	},
	[CMD_CUDA] = {
		"work on the CUDA state of one process",
		"thaw cuda --action ACTION|--toggle|--get-state|--get-restore-tid --pid PID [OPTION]...",
		"Asks the GPU agent for one step on the CUDA process PID, or for its state. Words and exit codes are\n"
		"those of NVIDIA's cuda-checkpoint; a link of that name to thaw does the same.",
		"  thaw cuda --get-state --pid 1234                   running, locked, checkpointed or failed\n"
		"  thaw cuda --action lock --pid 1234 --timeout 5000  at most 5 seconds\n"
		"  thaw cuda --toggle --pid 1234                      off the GPUs, or back onto them\n",
	},
};

/* Prints s wrapped at WIDTH in the right column, where the cursor stands. */
static void wrap(const char *s)
{
	int col = INDENT;

	while (*s) {
		int word = (int)strcspn(s, " ");

		if (col > INDENT && col + 1 + word > WIDTH)
			col = printf("\n%*s", INDENT, "") - 1;
		else if (col > INDENT)
			col += printf(" ");
		col += printf("%.*s", word, s);
		s += word;
		s += *s == ' ';
	}
	putchar('\n');
}

/* "  -t, --tree PID" in the left column, the sentence in the right one. */
static void row_print(const struct option_row *row)
{
	int col = row->letter ? printf("  -%c, ", row->letter) : printf("      ");

	col += printf("--%s%s%s", row->name, option_has_arg(row) && !option_arg_optional(row) ? " " : "", row->arg);
	if (col + 2 > INDENT) {
		putchar('\n');
		col = 0;
	}
	printf("%*s", INDENT - col, "");
	wrap(row->help);
}

static void options_print(enum cmd cmd)
{
	for (enum option_group g = 0; g < GROUP_HIDDEN; g++) {
		bool headed = false;

		for (size_t i = 0; i < option_count; i++) {
			const struct option_row *row = &option_rows[i];

			if (row->group != g || row->refused || !option_takes(row, cmd))
				continue;
			if (!headed)
				printf("\n%s:\n", option_heading(g));
			headed = true;
			row_print(row);
		}
	}
}

static void help_print_thaw(void)
{
	printf("Usage: thaw SUBCOMMAND [OPTION]...\n\n"
	       "Checkpoints and restores Linux process trees, in CRIU's image format and with CRIU's option names.\n\n"
	       "Sub-commands:\n");
	for (enum cmd cmd = 0; cmd < CMD_COUNT; cmd++)
		printf("  %-9s %s\n", cmd_name(cmd), text[cmd].summary);
	printf("\nExamples (as root):\n"
	       "  thaw check                            is this machine able to?\n"
	       "  thaw dump -t 1234 -D /var/ckpt        write process 1234 and its children, stop them\n"
	       "  thaw show /var/ckpt                   look at what was written\n"
	       "  thaw restore -D /var/ckpt -d          bring them back\n\n"
	       "'thaw SUBCOMMAND --help' explains its options; thaw(1) the configuration files. The exit code is 0, or 1\n"
	       "after one sentence that says what failed.\n");
}

void help_print(enum cmd cmd)
{
	if (cmd == CMD_COUNT) {
		help_print_thaw();
		return;
	}
	printf("Usage: %s\n\n%s\n\nExamples:\n%s", text[cmd].usage, text[cmd].about, text[cmd].examples);
	options_print(cmd);
	printf("\nA switch of the form --NAME is taken back by --no-NAME. Options are also read from\n"
	       "/etc/thaw/default.conf, ~/.thaw/default.conf and $THAW_CONFIG_FILE; the command line wins.\n");
}
