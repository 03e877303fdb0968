/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes and fifos of a tree: every end of one finds the same object here. Used by fd_pipe.c, fd_fifo.c, pipe_data.c. */
#ifndef KIND_PIPE_TABLE_H
#define KIND_PIPE_TABLE_H

#include <sys/types.h>

#include "kind/kind.h"

struct pipe_object {
	uint32_t pipe_id;  /* in the image */
	bool fifo;         /* pipe ids of fifos are a name space of their own */
	bool reads, writes; /* ends of that sort are in the tree */
	struct pipe_object *next_in_bucket, *next;

	/* dump */
	dev_t dev;
	ino_t ino;
	bool saved;                  /* what it holds has been written down */
	bool far_reader, far_writer; /* seen from the other end: somebody has that end open, in the tree or not */
	const char *name;            /* "pipe:[12] (task 7, fd 3)" */
	uint32_t size;

	/* restore */
	int end[2];        /* of our own, to open others by: read and write end; a fifo has end[0] for both; -1 */
	bool used[2];      /* that very description belongs to a file entry */
	bool packets;      /* some writer has O_DIRECT */
	const struct img_msg *data;
	bool has_owner;
	uint32_t uid, gid; /* of a task that has it */
};

enum { PIPE_BUCKETS = 1024 };

struct pipe_table {
	struct pipe_object *bucket[PIPE_BUCKETS];
	struct pipe_object *first, **last; /* all, in the order in which they came */
};

/* The object of an inode; made, with an id that no other one of its sort has, when it is new. */
struct pipe_object *pipe_table_inode(struct dumping *d, const struct fd_facts *f, bool fifo);
struct pipe_object *pipe_table_first(struct dumping *d);

/* The object that a file entry belongs to; the whole table is made on the first call. */
struct pipe_object *pipe_table_id(struct restoring *r, uint32_t pipe_id, bool fifo);

#endif
