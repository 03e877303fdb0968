/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program a task runs: an array of fixed-size records, executed in order by
 * the blob. Shared by the blob (no libc) and the engine (restore/prog.c and
 * dump/remote.c assemble it), so it holds plain data only.
 *
 * Nearly every record is a system call: what a kind needs done inside a task it
 * says as system calls with constant arguments, and the result of each is left
 * in the record, where the engine reads it. The few other operations are those
 * that no single system call can do.
 *
 * The blob, all programs of a tree, their data and the board lie in one memfd
 * that is mapped shared, at the same address, in the engine and in every task.
 * That address is free in all of them (plan/layout chooses it), so pointers in
 * records are plain addresses and nothing is ever relocated:
 *
 *   hole_va  [ blob code | board | records and data ... ]   shared memfd
 *            [ scratch: stacks of leader, threads, page workers ]  private, anonymous
 *            [ the running kernel's vdso, parked ]
 *
 * Before a task runs free the engine removes the whole hole with one munmap.
 */
#ifndef PIE_PROG_H
#define PIE_PROG_H

#include <stdint.h>

#include "pie/budget.h"

enum prog_op {
	OP_NONE,    /* never assembled: running into zeroed memory is a failure, not a feature */
	OP_JUMP,    /* go on at the record at arg0 */
	OP_EXIT,    /* exit this thread with status arg0 (a helper) */
	OP_SYSCALL, /* nr(arg0..arg5); -4095..-1 is a failure unless PROG_MAY_FAIL */
	OP_COPY,    /* memcpy(arg0, arg1, arg2) */
	OP_BARRIER, /* arrive at board barrier arg0 and wait until it opens */
	OP_FORK,    /* make the task described by struct pie_fork at arg0 */
	OP_REAP,    /* wait for child arg0 to end and reap it (a helper that has done its duty) */
	OP_ZOMBIE,  /* wait until child arg0 is a zombie, leave it one */
	OP_THREADS, /* start the threads of struct pie_threads at arg0 */
	OP_SEGMENTS, /* look which thread-local slots of the GDT hold a segment: a bit each in ret */
	OP_TILES,   /* touch an AMX tile: only a thread that has used one has room for tile data in its registers */
	OP_FILL, /* fill memory as struct pie_fill at arg0 says; arg1: the record that maps its staging area, or 0 */
	OP_ADVISE,    /* madvise(arg2) for each of arg1 ranges, an array of struct pie_iov at arg0 */
	OP_COMMIT,    /* the last barrier: wait for the engine's word, or end if the engine is gone */
	OP_SIGRETURN, /* take the registers from the signal frame at arg0; the end of a restored thread */
	OP_PARK,      /* dump: tell the tracer, wait for it; if it dies, go back by the frame at arg0 */
};

enum prog_flag {
	PROG_MAY_FAIL = 1, /* a failure is a result like any other */
};

/* One cache line. ref: bit i says that arg[i] is the address of an earlier record whose result is meant. */
struct prog_rec {
	uint16_t op, nr, flags, ref;
	int64_t ret;
	uint64_t arg[6];
};
_Static_assert(sizeof(struct prog_rec) == 64, "records are one cache line");

/* A task to be made by OP_FORK. */
struct pie_fork {
	uint64_t flags;    /* clone3 flags besides none: CLONE_PARENT for a helper's charge */
	uint64_t start_va; /* the child's first record */
	uint32_t task;     /* its index on the board */
	int32_t pid;       /* the PID it must get */
	int32_t exit_signal;
	uint32_t unused;
};

/* A thread to be made by OP_THREADS. */
struct pie_thread {
	uint64_t start_va, stack_va; /* its first record; the top of its stack in the scratch area */
	int32_t tid;
	uint32_t unused;
};

struct pie_threads {
	uint32_t n, made; /* made: atomic, the futex of the leader that waits for all */
	struct pie_thread thread[];
};

enum { PIE_FILE_NAME = 48 };

/* A pages file, by its name in an image directory. */
struct pie_file {
	char name[PIE_FILE_NAME];
	int32_t dirfd; /* the directory in the task */
	uint32_t depth; /* 0: the image directory itself, 1: its parent, ... */
};

/* As struct iovec. */
struct pie_iov {
	uint64_t va, len;
};

/* How memory gets its contents; all but the first by way of a worker's staging area, if it has one. */
enum pie_how {
	PIE_IN_PLACE,
	PIE_MOVE,    /* one piece of whole, aligned 2 MiB ranges: huge pages, moved over */
	PIE_COPY,    /* pages that are not there yet: each is allocated and copied to, never zeroed */
	PIE_COMPARE, /* pages that may be the same already, and are to be left alone where they are */
};

/*
 * One read: len bytes at off of file number `file` go to the niovs pieces of memory (page/chunk.h cuts them).
 * Or, with PIE_MOVE, one piece of memory that takes several reads: the parts, in their order, for a later one may
 * put its bytes over those of an earlier one.
 */
struct pie_chunk {
	uint64_t off, iovs_va, parts_va; /* arrays of pie_iov, pie_chunk */
	uint32_t len, niovs, file;
	uint16_t how, nparts; /* nparts 0: this is the read */
};

/* What a page worker did, for the timeline. */
struct pie_span {
	uint64_t from_ns, to_ns, bytes;
	int64_t tid;
};

/* How pages are read (the words of --page-io): auto looks at the page cache for each chunk and takes READ or DIRECT. */
enum pie_io { PIE_IO_AUTO, PIE_IO_READ, PIE_IO_URING, PIE_IO_DIRECT };

/* The memory of one task. Every field but next and done is constant once the task exists. */
struct pie_fill {
	uint64_t chunks_va, files_va; /* arrays of pie_chunk, pie_file */
	uint64_t stacks_va;           /* worker k's stack ends at stacks_va + (k + 1) * PIE_STACK */
	uint32_t nchunks, nfiles;
	uint32_t nworkers; /* the most it may have; 0: the leader fills by itself */
	uint32_t share;    /* how many of the budget it takes at first */
	uint32_t next;     /* atomic: the first chunk nobody has taken */
	uint32_t punch;    /* auto-dedup: free the pages in the file once they are read */
	/* Moving and copying: ranges to register, worker k's staging area; the leader sets uffd, -1: fill in place */
	uint64_t ranges_va, staging_va; /* array of pie_iov; `slots` times PIE_STAGING bytes for each worker */
	uint32_t nranges, ncut;         /* the first ncut ranges are only parts of mappings, others may be several */
	int32_t uffd;
	uint64_t spans_va; /* array of pie_span, one for each worker */
	uint32_t slots, ring_entries; /* of each worker's io_uring; 0: none */
	uint32_t io;                  /* enum pie_io */
	uint32_t staged; /* the leader sets it: the staging area is mapped */
};

enum { PIE_STAGING = 16 << 20 }; /* a move of so much at a time costs no more than one fault (doc/pages.md) */
enum { PIE_SLOTS = 2 }; /* for reading ahead: one is filled while the other is moved */
enum { PIE_SEGMENT_FIRST = 12, PIE_SEGMENTS = 3 }; /* the slots of set_thread_area(2) */
enum { PIE_STACK = 8192, PIE_BARRIERS = 8, PIE_MAX_FILES = 132 };

struct pie_barrier {
	uint32_t arrived, expected, open; /* open is the futex */
};

/* What the engine sees of a task. */
struct pie_task {
	uint32_t born; /* from here on the engine must watch it, and kill it on failure */
	int32_t pid;
	uint32_t arrived, expected; /* its threads that stand at OP_COMMIT; how many ring the bell, or 0 */
	uint64_t fill_from_ns, fill_to_ns;
};

/* The status page. Written by tasks with atomics, read by the engine; commit is the engine's alone. */
struct pie_board {
	uint32_t failed; /* 0, then 1: the first failure wins the right to fill in the next three */
	int32_t fail_err;
	uint32_t fail_task, fail_ready;
	uint64_t fail_rec_va;    /* the record that failed */
	uint64_t fail_detail[2]; /* OP_FILL: file number and offset; OP_THREADS: thread ID */
	uint32_t bell;           /* futex: rung when all have arrived and at a failure, the engine sleeps here */
	uint32_t arrived, expected; /* threads that stand at OP_COMMIT or OP_PARK; how many there will be */
	uint32_t commit;         /* futex: 1 sends everybody home */
	int32_t engine_pid, root_parent; /* the root's parent: the engine, or the engine's own parent */
	uint32_t dump;           /* set: these are threads of a dump's target */
	uint64_t bytes;          /* filled so far, for progress */
	uint64_t direct;         /* atomic: bytes that were read past the page cache */
	uint64_t ringed;         /* atomic: bytes that were read through rings */
	uint32_t unpunched;      /* atomic: pieces of images that could not be freed */
	int32_t ring_err;        /* why a worker could not have a ring: -errno; it read without */
	struct pie_barrier barrier[PIE_BARRIERS];
	struct pie_budget budget;
	struct pie_task task[];
};

/* How the blob begins: whoever finds one in a task whose thaw was killed knows it by the mark (dump/leftover.h). */
struct pie_head {
	uint8_t jump[2]; /* over the rest */
	char mark[14];
	uint64_t len; /* the engine says how much memory is thaw's, from here on */
	/* Threads of a dump's target that were sent here, and that have left. One may be elsewhere and come back: in a
	 * handler, if the engine was killed just before it could block its signals. */
	uint32_t sent, gone;
};
_Static_assert(sizeof(struct pie_head) == 32, "entry.S jumps over it");

/* Offset 0 of the blob: entered with these in registers, on a fresh stack, all signals blocked. */
typedef void pie_entry_fn(struct pie_board *board, uint32_t task, struct prog_rec *start);

#endif
