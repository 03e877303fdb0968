/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob: the loop that runs a program (prog.h) inside a task.
 *
 * Runs in the task, without libc, with all signals blocked, on a stack of the
 * scratch area. It must work at any address, so it has no relocations and no
 * writable data (the Makefile refuses both). A record that fails writes itself
 * on the board and ends the task; the engine turns it into a sentence.
 */
#include "pie/blob.h"

static void op_copy(void *to, const void *from, uint64_t len)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len)::"memory");
}

/* Written as bytes: the assembler need not know AMX. The first use faults, and the kernel makes room for tiles. */
static void op_tiles(void)
{
	uint64_t config[8] __attribute__((aligned(64)));

	for (int i = 0; i < 8; i++)
		config[i] = 0;
	config[0] = 1;  /* palette */
	config[2] = 64; /* bytes per row of tile 0 */
	config[6] = 1;  /* its rows */
	__asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x07\n" /* ldtilecfg (%%rdi) */
			 ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0\n" /* tilezero %%tmm0 */
			 ".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0\n" /* tilerelease */
			 :
			 : "D"(config)
			 : "memory");
}

/* lsl finds the limit of a segment that there is; system calls and debuggers know no cheaper way. */
static int64_t op_segments(void)
{
	int64_t there = 0;

	for (int i = 0; i < PIE_SEGMENTS; i++) {
		uint64_t limit = (uint64_t)(PIE_SEGMENT_FIRST + i) << 3 | 3;
		uint8_t found;

		__asm__("lsl %1, %1\n\tsetz %0" : "=q"(found), "+r"(limit) : : "cc");
		there |= (int64_t)found << i;
	}
	return there;
}

static long op_advise(const struct pie_iov *v, uint64_t n, uint64_t advice)
{
	long r = 0;

	for (uint64_t i = 0; i < n && !r; i++)
		r = sys3(__NR_madvise, v[i].va, v[i].len, advice);
	return r;
}

static void op_syscall(struct pie_ctx *c, struct prog_rec *rec)
{
	uint64_t a[6];

	for (int i = 0; i < 6; i++)
		a[i] = rec->ref & (1u << i) ? (uint64_t)((const struct prog_rec *)rec->arg[i])->ret : rec->arg[i];
	rec->ret = sys6(rec->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	/* in a dump's target nothing may fail: the engine reads the results */
	if (rec->ret < 0 && rec->ret >= -4095 && !(rec->flags & PROG_MAY_FAIL) && !c->board->dump)
		pie_fail(c, rec, (int)-rec->ret, 0, 0);
}

/* The operations that can fail as a whole. */
static long run_op(struct pie_ctx *c, struct prog_rec *rec, struct prog_rec **next)
{
	switch (rec->op) {
	case OP_FORK:
		return op_fork(c, (const struct pie_fork *)rec->arg[0], next);
	case OP_REAP:
		return op_reap(c, (int32_t)rec->arg[0]);
	case OP_ZOMBIE:
		return op_zombie(c, (int32_t)rec->arg[0]);
	case OP_ADVISE:
		return op_advise((const struct pie_iov *)rec->arg[0], rec->arg[1], rec->arg[2]);
	case OP_FILL:
		return op_fill(c, rec, (struct pie_fill *)rec->arg[0]);
	default:
		return -38; /* ENOSYS: the engine and its blob disagree */
	}
}

void pie_run(struct pie_ctx *c, struct prog_rec *rec)
{
	for (;;) {
		struct prog_rec *next = rec + 1;
		long r;

		switch (rec->op) {
		case OP_SYSCALL:
			op_syscall(c, rec);
			break;
		case OP_JUMP:
			next = (struct prog_rec *)rec->arg[0];
			break;
		case OP_COPY:
			op_copy((void *)rec->arg[0], (const void *)rec->arg[1], rec->arg[2]);
			break;
		case OP_SEGMENTS:
			rec->ret = op_segments();
			break;
		case OP_TILES:
			op_tiles();
			break;
		case OP_THREADS:
			op_threads(c, rec);
			break;
		case OP_BARRIER:
			op_barrier(c, (uint32_t)rec->arg[0]);
			break;
		case OP_COMMIT:
			op_commit(c);
			break;
		case OP_PARK:
			op_park(c);
			pie_sigreturn(rec->arg[0]);
		case OP_SIGRETURN:
			pie_sigreturn(rec->arg[0]);
		case OP_EXIT:
			for (;;)
				sys1(__NR_exit, rec->arg[0]);
		default:
			r = run_op(c, rec, &next);
			if (r < 0)
				pie_fail(c, rec, (int)-r, 0, 0);
		}
		rec = next;
	}
}

/* Called by entry.S: the first thing that runs in the root task, and in a thread of a dump's target. */
_Noreturn void pie_main(struct pie_board *board, uint32_t task, struct prog_rec *start);
_Noreturn void pie_main(struct pie_board *board, uint32_t task, struct prog_rec *start)
{
	struct pie_ctx c = { .board = board, .task = task };

	c.parent = board->root_parent;
	__atomic_store_n(&board->task[task].born, 1, __ATOMIC_RELEASE);
	pie_run(&c, start);
}
