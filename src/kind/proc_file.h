/* SPDX-License-Identifier: Apache-2.0 */
/* Files of /proc/PID: they are there only when the task is, so the task that has them opens them itself. */
#ifndef KIND_PROC_FILE_H
#define KIND_PROC_FILE_H

#include "kind/kind.h"

/* Is m such a file? */
bool proc_file_is(const RegFileEntry *m);
/* Dump: refuses files of tasks that are not in the tree; passes all that is not in /proc/PID. */
int proc_file_dump(struct dumping *d, const struct fd_facts *f, const RegFileEntry *m) must_check;
/* Every descriptor is known: refuses such a file that several of them share. */
int proc_file_finish(struct dumping *d) must_check;

int proc_file_check(struct restoring *r, const RegFileEntry *m) must_check;
/* A stand-in, which emit() replaces in the task. */
int proc_file_open(void) must_check;
int proc_file_emit(struct restoring *r, const RegFileEntry *m, int tfd, struct prog *p) must_check;

#endif
