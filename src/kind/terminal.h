/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals of a restore (fd_tty.c has the dump and the row of the registry). */
#ifndef KIND_TERMINAL_H
#define KIND_TERMINAL_H

#include "kind/kind.h"

enum {
	TERMINAL_AUX = 5,  /* major of /dev/tty, /dev/console, /dev/ptmx */
	TERMINAL_CCS = 19, /* control characters on the wire, as in the kernel */
};

int terminal_check(struct restoring *r, const FileEntry *e) must_check;
int terminal_open(struct restoring *r, const FileEntry *e) must_check;
int terminal_emit(struct restoring *r, const FileEntry *e, int tfd, struct prog *p) must_check;

/* Is file_id the name of a terminal (tty_file_entry.regf_id)? Such an entry is nobody's file and is not opened. */
bool terminal_has_name(const struct snap *s, uint32_t file_id);

#endif
