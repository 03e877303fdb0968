/* SPDX-License-Identifier: Apache-2.0 */
/* The blob's inside: one context per thread, one function per operation. */
#ifndef PIE_BLOB_H
#define PIE_BLOB_H

#include "pie/prog.h"
#include "pie/sys.h"

/* Lives on the thread's own stack; copied by fork together with it. */
struct pie_ctx {
	struct pie_board *board;
	uint32_t task;
	int32_t parent; /* what getppid() must say: another answer means that the parent is gone */
};

/* entry.S */
long pie_clone(const void *args, size_t len, uint64_t stack_top, void (*fn)(void *), void *arg);
_Noreturn void pie_sigreturn(uint64_t frame_va);
extern struct pie_head pie_entry __attribute__((visibility("hidden"))); /* the blob begins with it */

/* op_sync.c */
void pie_ring(struct pie_board *b);
_Noreturn void pie_fail(struct pie_ctx *c, const struct prog_rec *rec, int err, uint64_t detail0, uint64_t detail1);
/* Ends this task if the restore has failed, or its parent or the engine is gone. Ask now and then while waiting. */
void pie_leave_if_alone(struct pie_ctx *c);
void op_barrier(struct pie_ctx *c, uint32_t k);
void op_commit(struct pie_ctx *c);
void op_park(struct pie_ctx *c);
/* EEXIST is often passing: some short-lived process has the ID. Sleeps a little and says whether to try again. */
int pie_try_again(long r, int32_t id, int *tries);
void futex_wait(uint32_t *word, uint32_t value, long timeout_ns);
void futex_wake_all(uint32_t *word);

/* op_task.c: these return 0 or -errno; op_fork also returns in the child, then *ret_start is set */
long op_fork(struct pie_ctx *c, const struct pie_fork *f, struct prog_rec **ret_start);
long op_reap(struct pie_ctx *c, int32_t pid);
long op_zombie(struct pie_ctx *c, int32_t pid);
void op_threads(struct pie_ctx *c, const struct prog_rec *rec); /* ends the task itself if it fails */

/* page_worker.c; page_worker.h for its parts */
long op_fill(struct pie_ctx *c, const struct prog_rec *rec, struct pie_fill *f);

/* blob.c */
_Noreturn void pie_run(struct pie_ctx *c, struct prog_rec *rec);

#endif
