/* SPDX-License-Identifier: Apache-2.0 */
/* The OPTIONS part of the man pages (help.h). doc/doc.mk puts it into the pages, so they cannot tell another story. */
#include <stdio.h>

#include "cli/help.h"
#include "cli/option.h"

/* Text in which roff must find no request, escape or typographic hyphen. */
static void escaped(const char *s)
{
	for (; *s; s++) {
		if (*s == '-')
			fputs("\\-", stdout);
		else if (*s == '\\')
			fputs("\\e", stdout);
		else
			putchar(*s);
	}
}

static void row_print(const struct option_row *row)
{
	fputs(".TP\n", stdout);
	if (row->letter)
		printf("\\fB\\-%c\\fR, ", row->letter);
	fputs("\\fB\\-\\-", stdout);
	escaped(row->name);
	fputs("\\fR", stdout);
	if (option_has_arg(row)) {
		fputs(option_arg_optional(row) ? "\\fI" : " \\fI", stdout);
		escaped(row->arg);
		fputs("\\fR", stdout);
	}
	fputs("\n\\&", stdout);
	escaped(row->help);
	putchar('\n');
}

/* thaw(1) has the options that every sub-command takes, the other pages the rest as well. */
static bool wanted(const struct option_row *row, enum cmd cmd)
{
	if (cmd != CMD_COUNT)
		return option_takes(row, cmd);
	for (enum cmd c = 0; c < CMD_COUNT; c++)
		if (!option_takes(row, c))
			return false;
	return true;
}

void roff_print(enum cmd cmd)
{
	for (enum option_group g = 0; g < GROUP_HIDDEN; g++) {
		bool headed = false;

		for (size_t i = 0; i < option_count; i++) {
			const struct option_row *row = &option_rows[i];

			if (row->group != g || row->refused || !wanted(row, cmd))
				continue;
			if (!headed)
				printf(".SS %s\n", option_heading(g));
			headed = true;
			row_print(row);
		}
	}
}
