/* SPDX-License-Identifier: Apache-2.0 */
/* A file with a name, as reg_file_entry has it. Behind the kind "file" and the names of fifos. */
#ifndef KIND_REG_FILE_H
#define KIND_REG_FILE_H

#include "kind/kind.h"

/* Dump: the entry for what f refers to; adds a ghost or a link for one whose name is gone. */
int reg_file_dump(struct dumping *d, const struct fd_facts *f, uint32_t id, RegFileEntry **ret) must_check;
/*
 * Restore: opens path, where m's file stands at the moment, with m's flags and
 * position. A fifo is opened as a name only (O_PATH): fd_fifo.c goes on from there.
 */
int reg_file_open(const char *path, const RegFileEntry *m) must_check;
/* Is what is at path the file of m? Looks at type, size and build ID. */
int reg_file_check(const char *path, const RegFileEntry *m) must_check;
/* The type as in the image, 0 when it does not tell. */
static inline mode_t reg_file_type(const RegFileEntry *m)
{
	return m->has_mode ? (mode_t)m->mode & S_IFMT : 0;
}

#endif
