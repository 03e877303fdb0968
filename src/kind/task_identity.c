/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a task is to the kernel apart from its credentials: personality, whether it
 * adopts orphans, how ready the kernel is to kill it for memory, who logged in, what
 * of its memory a core dump holds, and which memory barriers it may ask for.
 *
 * Runs in the engine; emitted by the leader before its threads exist, which inherit
 * the login uid. Order in the table: before the file system (chroot hides /proc) and
 * credentials.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "kind/kind.h"
#include "kind/task_entry.h"

/* linux/membarrier.h has it since 6.3 */
enum { MEMBARRIER_GET_REGISTRATIONS = 1 << 9 };
enum { COREDUMP_FILTER = 0x33 /* what processes start with */ };

struct asked {
	int32_t *subreaper;
	const struct prog_rec *barriers;
};

static void *identity_ask(struct dumping *d, struct dump_task *t, struct prog *p)
{
	struct asked *q = arena_alloc(d->a, sizeof(*q));
	uint64_t va;

	(void)t;
	q->subreaper = prog_alloc(p->space, sizeof(*q->subreaper), &va);
	prog_label(p, "ask whether it adopts orphans");
	prog_sys(p, SYS_prctl, PR_GET_CHILD_SUBREAPER, va);
	prog_label(p, "ask for memory barriers");
	/* EINVAL before 6.3: then they cannot be known, and programs that use them fall back at the first refusal */
	q->barriers = prog_try(p, SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS, 0, 0);
	return q;
}

static int identity_dump(struct dumping *d, struct dump_task *t, const void *asked)
{
	TaskCoreEntry *tc = task_entry_shared(d->a, t->threads[0].core);
	const struct asked *q = asked;
	int r = proc_personality(t->proc_fd, &tc->personality);

	if (r < 0)
		return r;
	tc->flags = t->stat.flags;
	r = proc_coredump_filter(t->proc_fd, &tc->thaw_coredump_filter);
	if (r < 0)
		return r;
	tc->has_thaw_coredump_filter = tc->thaw_coredump_filter != COREDUMP_FILTER;
	r = proc_oom_score_adj(t->proc_fd, &tc->oom_score_adj);
	if (r < 0)
		return r;
	r = proc_loginuid(t->proc_fd, &tc->loginuid);
	if (r < 0)
		return r;
	tc->has_oom_score_adj = tc->has_loginuid = tc->has_child_subreaper = true;
	tc->child_subreaper = *q->subreaper != 0;
	tc->has_membarrier_registration_mask = q->barriers->ret > 0;
	if (q->barriers->ret > 0)
		tc->membarrier_registration_mask = (uint32_t)q->barriers->ret;
	return 0;
}

/* A number into a file of /proc, by the task itself. flags: 0 or PROG_MAY_FAIL */
static void emit_write(struct prog *p, unsigned flags, const char *path, long long value)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%lld", value);
	uint64_t path_va = prog_data(p->space, path, strlen(path) + 1);
	struct prog_rec *open, *write;

	prog_label(p, "write %s to %s", text, path);
	open = prog_call(p, flags, SYS_openat, PROG_ARGS((uint64_t)AT_FDCWD, path_va, O_WRONLY | O_CLOEXEC, 0));
	write = prog_call(p, flags, SYS_write, PROG_ARGS(0, prog_data(p->space, text, (size_t)len), (uint64_t)len));
	prog_ref(p, write, 0, open);
	prog_ref(p, prog_call(p, flags, SYS_close, PROG_ARGS(0)), 0, open);
}

/*
 * What is the same as thaw's own needs no call, but for oom_score_adj: until here the task was the first to be killed
 * (restore/launch.c), or could not be made so; then it cannot be undone either.
 */
static void emit_proc(const struct own *own, const TaskCoreEntry *tc, struct prog *p)
{
	uint32_t want = tc->has_thaw_coredump_filter ? tc->thaw_coredump_filter : COREDUMP_FILTER;

	if (tc->has_oom_score_adj && tc->oom_score_adj != own->oom_score_adj)
		emit_write(p, 0, "/proc/self/oom_score_adj", tc->oom_score_adj);
	else
		emit_write(p, PROG_MAY_FAIL, "/proc/self/oom_score_adj", own->oom_score_adj);
	if (want != own->coredump_filter)
		emit_write(p, 0, "/proc/self/coredump_filter", want);
	if (tc->has_loginuid && tc->loginuid != own->loginuid)
		emit_write(p, 0, "/proc/self/loginuid", tc->loginuid == UINT32_MAX ? -1 : (long long)tc->loginuid);
}

static void emit_barriers(const TaskCoreEntry *tc, struct prog *p)
{
	uint32_t left = tc->has_membarrier_registration_mask ? tc->membarrier_registration_mask : 0;

	for (; left; left &= left - 1) {
		uint32_t command = left & -left;

		prog_label(p, "register for memory barriers 0x%x", command);
		prog_sys(p, SYS_membarrier, command, 0, 0);
	}
}

/*
 * CRIU 4.2 takes the hexadecimal digits of /proc/PID/personality for decimal ones. What comes of that is never a
 * personality (bits 8 to 16 mean nothing), so it can be told apart and put right.
 */
static uint32_t personality_of(const TaskCoreEntry *tc)
{
	const uint32_t meaningless = 0xf001ff00;
	uint32_t v = 0, shift = 0;

	if (!(tc->personality & meaningless))
		return tc->personality;
	for (uint32_t left = tc->personality; left && shift < 32; left /= 10, shift += 4)
		v |= left % 10 << shift;
	return v & meaningless ? tc->personality : v;
}

static int identity_emit(struct restoring *r, const struct snap_task *t, struct prog *p)
{
	const TaskCoreEntry *tc = t->cores[0]->tc;
	uint32_t wanted = personality_of(tc);

	if (r->own.personality != wanted) {
		prog_label(p, "set personality 0x%x", wanted);
		prog_sys(p, SYS_personality, wanted);
	}
	if (tc->has_child_subreaper && tc->child_subreaper) {
		prog_label(p, "adopt orphans");
		prog_sys(p, SYS_prctl, PR_SET_CHILD_SUBREAPER, 1);
	}
	emit_barriers(tc, p);
	emit_proc(&r->own, tc, p);
	return 0;
}

const struct kind_task kind_task_identity = {
	.name = "identity",
	.ask = identity_ask,
	.dump = identity_dump,
	.emit = identity_emit,
};
