/* SPDX-License-Identifier: Apache-2.0 */
/* Why a restore failed, as one sentence: from the record that a task left on the board, or from the way it ended. */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/guard.h"
#include "base/trace.h"
#include "restore/rt.h"

static const uint64_t PATIENCE_NS = 1000000000u;

static const struct prog_rec *rec_at(const struct restore *r, uint64_t va)
{
	const struct prog_space *s = &r->space;

	if (va < s->base_va || va - s->base_va >= s->len)
		return NULL;
	return (const struct prog_rec *)(s->map + (va - s->base_va));
}

/* Images of a chain have files of the same names: which one it was is said. */
static int blame_read(const struct restore *r, const struct pie_file *file)
{
	const struct pie_board *b = r->board;
	uint64_t off = b->fail_detail[1];
	int err;

	if (b->fail_err == ENODATA)
		err = err_say(ENODATA, "%s: the file ends before offset %" PRIu64 ", where pages should be", file->name, off);
	else
		err = err_set(b->fail_err, "%s: read at offset %" PRIu64, file->name, off);
	if (!file->depth || file->depth >= imgdir_depth(r->dir))
		return err;
	return err_ctx(err, "%s", imgdir_at(r->dir, file->depth)->path);
}

static int blame_fill(const struct restore *r, const struct prog_rec *rec)
{
	const struct pie_board *b = r->board;
	const struct pie_fill *f = (const struct pie_fill *)(r->space.map + (rec->arg[0] - r->space.base_va));
	const struct pie_file *names = (const struct pie_file *)(r->space.map + (f->files_va - r->space.base_va));
	uint64_t file = b->fail_detail[0];
	char starved[GUARD_STARVED_LEN];

	if (b->fail_err == EOWNERDEAD)
		return err_say(EOWNERDEAD, "a page worker was killed (wait status 0x%" PRIx64 ") while it filled memory%s",
			       b->fail_detail[1], guard_starved(starved));
	if (file >= f->nfiles)
		return err_set(b->fail_err, "fill memory");
	return blame_read(r, &names[file]);
}

static int blame_rec(const struct restore *r)
{
	const struct pie_board *b = r->board;
	const struct prog_rec *rec = rec_at(r, b->fail_rec_va);

	if (rec && rec->op == OP_FILL)
		return blame_fill(r, rec);
	if (rec && rec->op == OP_FORK && b->fail_err == EEXIST)
		return err_say(EEXIST, "%s: the PID is taken by another process",
			       prog_label_of(&r->space, b->fail_rec_va));
	if (rec && rec->op == OP_THREADS && b->fail_err == EEXIST)
		return err_say(EEXIST, "%s: ID %" PRIu64 " is taken by another process",
			       prog_label_of(&r->space, b->fail_rec_va), b->fail_detail[0]);
	return err_set(b->fail_err, "%s", prog_label_of(&r->space, b->fail_rec_va));
}

int blame_board(struct restore *r)
{
	const struct pie_board *b = r->board;
	const struct rtask *k;
	uint64_t deadline = trace_now_ns() + PATIENCE_NS;

	while (!__atomic_load_n(&b->fail_ready, __ATOMIC_ACQUIRE))
		if (trace_now_ns() > deadline)
			return err_say(ECHILD, "a task was killed before it could say why it failed");
	k = r->tree.tasks[b->fail_task < r->tree.n ? b->fail_task : 0];
	return err_ctx(blame_rec(r), "task %d (%s)", k->pid, k->t ? snap_comm(k->t) : "stand-in");
}

int blame_death(struct restore *r, const struct rtask *k, int status)
{
	char starved[GUARD_STARVED_LEN];

	(void)r;
	if (WIFSIGNALED(status))
		return err_say(ECHILD, "task %d (%s): it was ended by signal %d (%s) while it was being restored%s", k->pid,
			       k->t ? snap_comm(k->t) : "stand-in", WTERMSIG(status), strsignal(WTERMSIG(status)),
			       guard_starved(starved));
	return err_say(ECHILD, "task %d (%s): it ended while it was being restored", k->pid, k->t ? snap_comm(k->t) : "stand-in");
}
