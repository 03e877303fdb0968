/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one restore, shared by the files of restore/ and by nobody else. */
#ifndef RESTORE_RT_H
#define RESTORE_RT_H

#include <sys/types.h>

#include "base/undo.h"
#include "img/imgdir.h"
#include "restore/layout.h"
#include "restore/rfiles.h"
#include "restore/tree.h"

/* All tasks are born; all are in their groups, so that zombies and helpers may end. */
enum { BARRIER_BORN, BARRIER_GROUPED };

struct restore {
	struct restoring kinds; /* what kinds see */
	struct snap *snap;
	struct rfiles files;
	struct undo undo, done; /* if it fails; once the tree runs */
	struct rtree tree;
	struct layout lay;
	struct prog_space space;
	struct pie_board *board;
	struct imgdir *dir;
	int pie_fd;             /* the memfd behind the space */
	bool plan_only;         /* thaw plan: programs are assembled, descriptors are stand-ins */
	uint32_t workers;       /* page workers of the whole tree; 0: serial */
	bool huge_pages;        /* the system lets us have them */
	bool huge_always;       /* and gives them to whoever touches memory */
	enum pie_io page_io;    /* how pages are read */
	uint32_t ring_entries;  /* of each page worker's io_uring; 0: none */
	uint64_t fill_bytes;    /* private memory to fill in tasks */
	uint64_t shmem_bytes;   /* shared memory to fill in the engine */
	int32_t *ids;           /* all that the image needs, sorted */
	size_t nids;
	int32_t *spare_ids;     /* numbers no image needs and nobody has, for page workers */
	uint32_t nspare_ids;
	const struct pie_fill **fills; /* by task index in snap; NULL: it has no contents */
	int *images_tfd;        /* by depth: the number in tasks of the image directory, its parent, ... */
	/* the vdso of the image: kept (moved there) or bridged */
	struct rvdso *vdso;     /* by task index in snap */
	pid_t root;             /* the root task once it exists, else 0 */
	volatile pid_t *unclean; /* for who waits for us: the root while it runs with something of ours; or NULL */
	uint64_t start_ns, forked_ns;
	int64_t clock_ahead_ns; /* what the tasks' monotonic clock is ahead of ours */
	struct rgpu *gpu;       /* gpu_restore.h */
	uint32_t looked_at;     /* launch.c: the task to be looked at next */
};

/* restore.c: the first stages are those of `thaw plan`, too. */
struct restore *restore_new(const struct opts *o);
int restore_stage_load(void *ctx) must_check;
int restore_stage_plan(void *ctx) must_check;
int restore_stage_assemble(void *ctx) must_check;

/* ---- the parts ------------------------------------------------------------------------------- */

/* fill.c: contents of private memory. */
/* Counts the bytes and chooses the number of workers for the whole tree; logs the choice. */
void fill_plan(struct restore *r);
/* How many page workers so many bytes deserve on a machine of so many CPUs. asked: --parallel-restore, 0: not asked. */
uint32_t fill_workers_choose(uint64_t bytes, int asked, unsigned cpus);
/* The most page workers a task with so many bytes to fill may have; 0: it fills them itself. */
uint32_t fill_workers(const struct restore *r, uint64_t bytes);
/* How many of all workers those bytes are worth, at least one. */
uint32_t fill_share(const struct restore *r, uint64_t bytes);
/* The workers of the whole tree, on the board. */
void fill_budget(struct restore *r);
/* UFFDIO_MOVE wants private anonymous memory with the protection of the staging area. */
bool fill_may_be_huge(const VmaEntry *v);
/* Of what has to be read for k; less than it has if it shares some with its creator. */
uint64_t fill_bytes(const struct rtask *k);
void fill_emit(struct restore *r, const struct rtask *k, struct prog *p);

/* page_io.c: how pages are read. */
/* After fill_plan(): chooses and logs. */
void page_io_plan(struct restore *r);
/* What it came to, in the log. */
void page_io_report(const struct restore *r);

/* memory.c: mappings, contents, protection of one task. */
int rmemory_emit(struct restore *r, const struct rtask *k, struct prog *p) must_check;
/* When all that the task's heirs need of it is done. */
void rmemory_emit_protection(const struct snap_task *t, struct prog *p);
/* The protection of one of t's mappings until then. */
uint32_t rmemory_fill_prot(const struct snap_task *t, const VmaEntry *v);
/* The last step before commit: the vdso goes to its place. */
int rmemory_emit_vdso(struct restore *r, const struct snap_task *t, struct prog *p) must_check;

/* birth.c: how a program begins, in three parts around its memory; and how one ends that is not to live. */
void birth_emit(struct restore *r, const struct rtask *k, struct prog *p);
void birth_emit_heirs(struct restore *r, const struct rtask *k, struct prog *p);
void birth_emit_end(struct restore *r, const struct rtask *k, struct prog *p);
void birth_emit_death(struct restore *r, const struct rtask *k, struct prog *p);

/* life.c: assembles the program of every task. */
int life_assemble(struct restore *r) must_check;

/* launch.c: the space, the root task, waiting. */
int launch_space(struct restore *r) must_check;
int launch_root(struct restore *r) must_check;
int launch_wait(struct restore *r) must_check;
void launch_kill(struct restore *r);

/* finish.c: commit, and the hole goes. */
int finish_release(struct restore *r) must_check;
/*
 * One thread (not the leader) goes home before the commit; the hole stays. It runs with all signals blocked until then,
 * *ret_mask is what it will have.
 */
int finish_ahead(const struct restore *r, const struct rtask *k, size_t thread, uint64_t *ret_mask) must_check;

/* blame.c: the board's failure as a sentence. Returns -errno. */
int blame_board(struct restore *r) must_check;
/* A task that is gone without having said why. */
int blame_death(struct restore *r, const struct rtask *k, int status) must_check;

#endif
