/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The assembler of programs (pie/prog.h): records and their data are written
 * straight to where they will run, into a shared memfd mapping, so an address
 * once given never moves. Used by dump (questions asked in the target) and by
 * restore (the life of a task from fork to sigreturn).
 *
 *   struct prog p = prog_begin(space);
 *   prog_label(&p, "arm timerfd %d", tfd);
 *   prog_sys(&p, SYS_timerfd_settime, tfd, 0, prog_data(space, &its, sizeof(its)), 0);
 */
#ifndef PROG_ASM_H
#define PROG_ASM_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "pie/prog.h"

/* Room for programs: `map` is our view, `base_va` the address it has in the task. */
struct prog_space {
	struct arena *a;      /* labels live here */
	uint8_t *map;
	uint64_t base_va;
	size_t len, used;     /* bytes */
	const char **labels;  /* by record number, (va - base_va) / 64; what the engine says when it fails */
};

/* One program under construction. */
struct prog {
	struct prog_space *space;
	struct prog_rec *next; /* where the next record goes */
	uint32_t left;         /* records left in this piece, the last is kept for a jump */
	uint64_t start_va;
	const char *label;
};

/* A space over memory the caller mapped (zero-filled). It must outlive every program. */
int prog_space_init(struct prog_space *s, struct arena *a, void *map, uint64_t base_va, size_t len) must_check;
void prog_space_done(struct prog_space *s);
/* A part of it (at: a multiple of 64), which another thread may fill meanwhile. Labels are in a; not to be ended. */
struct prog_space prog_space_part(const struct prog_space *s, struct arena *a, size_t at, size_t len);

/* Zeroed room in the space, aligned to a cache line; never fails: overflow is remembered (prog_space_full). */
void *prog_alloc(struct prog_space *s, size_t len, uint64_t *ret_va);
/* A copy of data in the space. Returns its address in the task. */
uint64_t prog_data(struct prog_space *s, const void *data, size_t len);
uint64_t prog_va(const struct prog_space *s, const void *local);
/* -ENOSPC with a sentence when something did not fit. */
int prog_space_full(const struct prog_space *s) must_check;

struct prog prog_begin(struct prog_space *s);
/*
 * What the next records do, for the error sentence: "map 0x7f.. of /usr/lib/x". Of "@map" the addresses follow only
 * when somebody asks, out of the record: arg0, and the arg1 bytes from there. Formatting them costs more than all else
 * of a record, and there may be tens of thousands of mappings.
 */
void prog_label(struct prog *p, const char *fmt, ...) like_printf(2, 3);
/* Appends a record; the pointer stays valid, and after the run its ret holds the result. */
struct prog_rec *prog_op(struct prog *p, enum prog_op op, const uint64_t arg[6]);
struct prog_rec *prog_call(struct prog *p, unsigned flags, long nr, const uint64_t arg[6]);

#define PROG_ARGS(...) ((const uint64_t[6]){ __VA_ARGS__ })
/* A system call that must succeed; one whose failure is a result; any other operation. */
#define prog_sys(p, nr, ...) prog_call((p), 0, (nr), PROG_ARGS(__VA_ARGS__))
#define prog_try(p, nr, ...) prog_call((p), PROG_MAY_FAIL, (nr), PROG_ARGS(__VA_ARGS__))
#define prog_do(p, op, ...)  prog_op((p), (op), PROG_ARGS(__VA_ARGS__))

/* Says that arg[i] of rec is the result of `of`, a record of the same task before it. */
void prog_ref(const struct prog *p, struct prog_rec *rec, unsigned i, const struct prog_rec *of);

/* The label of the record at va, "?" if there is none there. */
const char *prog_label_of(const struct prog_space *s, uint64_t rec_va);

/* For programs that go on after a failure (a dump's questions): the first that must not fail and did, by its label. */
int prog_results(const struct prog_space *s, uint64_t start_va) must_check;

/* Prints the programs reachable from start_va, for `thaw plan --pie`. */
void prog_print(const struct prog_space *s, uint64_t start_va, int indent);

#endif
