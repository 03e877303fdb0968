/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a pipe or fifo, and who is at its other end. */
#ifndef KIND_PIPE_DATA_H
#define KIND_PIPE_DATA_H

#include "kind/pipe_table.h"

/* Dump: what this end tells about its pipe; its contents when it can be read from. They stay in the pipe. */
int pipe_data_see(struct dumping *d, struct pipe_object *o, const struct fd_facts *f) must_check;
/* All ends are known: refuses pipes that lead out of the tree. */
int pipe_data_finish(struct dumping *d, bool fifo) must_check;

/* Restore: size and contents, through any descriptor of it; all of them may be written to. */
int pipe_data_put(const struct pipe_object *o, int fd) must_check;

#endif
