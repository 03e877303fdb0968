/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restore, as a table of stages. Up to "files" nothing outside the engine is
 * touched; "files" may touch the file system (each touch has its undo); "launch"
 * creates the tree; "commit" is the point of no return.
 */
#include "restore/restore.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/guard.h"
#include "base/io.h"
#include "base/log.h"
#include "base/script.h"
#include "base/stage.h"
#include "base/trace.h"
#include "dump/leftover.h"
#include "kind/shmem.h"
#include "page/shmem_fill.h"
#include "restore/gpu_restore.h"
#include "restore/heritage.h"
#include "restore/ids.h"
#include "restore/rt.h"
#include "restore/stats.h"
#include "restore/vdso_place.h"

int restore_stage_load(void *ctx)
{
	struct restore *r = ctx;
	int err = imgdir_open(AT_FDCWD, r->kinds.opts->images_dir, r->kinds.a, &r->dir);

	if (err < 0)
		return err;
	r->kinds.dirfd = r->dir->dirfd;
	err = err_ctx(snap_load(r->snap, r->dir->dirfd), "%s", r->kinds.opts->images_dir);
	if (err >= 0)
		err = snap_check(r->snap);
	if (err >= 0)
		err = snap_chain(r->snap, r->dir);
	r->images_tfd = arena_alloc(r->kinds.a, imgdir_depth(r->dir) * sizeof(int));
	return err;
}

static int check_tasks(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; err >= 0 && i < r->tree.n; i++) {
		const struct rtask *k = r->tree.tasks[i];

		for (size_t j = 0; err >= 0 && kind_tasks[j] && k->role == RTASK_ALIVE; j++)
			if (kind_tasks[j]->check)
				err = kind_tasks[j]->check(&r->kinds, k->t);
		if (err < 0)
			return err_ctx(err, "task %d (%s)", k->pid, snap_comm(k->t));
	}
	return 0;
}

int restore_stage_plan(void *ctx)
{
	struct restore *r = ctx;
	int err = rtree_build(&r->kinds, &r->tree);

	if (r->snap->list[IMG_CGROUP].n)
		log_warn("cgroup.img: control groups are not restored yet, the tree stays in thaw's own");
	if (err >= 0)
		err = own_read(&r->kinds.own);
	if (err >= 0)
		err = rfiles_init(&r->kinds);
	if (err >= 0)
		err = rfiles_check(&r->kinds);
	if (err >= 0)
		err = check_tasks(r);
	if (err < 0)
		return err;
	heritage_plan(r);
	fill_plan(r);
	page_io_plan(r);
	err = gpu_restore_plan(r);
	if (err < 0)
		return err;
	err = layout_choose(&r->kinds, r->workers, r->ring_entries != 0, heritage_room(r), &r->lay);
	if (err >= 0)
		err = vdso_place_plan(r);
	return err < 0 ? err : ids_plan(r);
}

static int stage_gpu(void *ctx)
{
	return gpu_restore_open(ctx);
}

static void done_gpu(void *ctx)
{
	gpu_restore_close(ctx);
}

static int restore_stage_files(void *ctx)
{
	struct restore *r = ctx;
	int err = rfiles_open(&r->kinds), depth = 0;

	for (const struct imgdir *d = r->dir; err >= 0 && d; d = d->parent) {
		err = fcntl(d->dirfd, F_DUPFD, r->files.base);
		if (err < 0)
			return err_set(errno, "keep %s open", d->path);
		r->images_tfd[depth++] = err;
	}
	return err;
}

int restore_stage_assemble(void *ctx)
{
	struct restore *r = ctx;
	int err = launch_space(r);

	return err < 0 ? err : life_assemble(r);
}

static int stage_launch(void *ctx)
{
	return launch_root(ctx);
}

static void undo_launch(void *ctx)
{
	launch_kill(ctx);
}

/* Shared memory is filled here while the tasks fill their own. */
static int stage_fill(void *ctx)
{
	struct restore *r = ctx;
	struct shmem_job *jobs = arena_alloc(r->kinds.a, (r->snap->nshmem + 1) * sizeof(*jobs));
	_Atomic uint64_t done = 0;
	size_t n = 0;
	int err;

	for (size_t i = 0; i < r->snap->nshmem; i++) {
		int fd = shmem_open(&r->kinds, r->snap->shmem[i]->shmid);

		if (fd < 0)
			return fd;
		jobs[n++] = (struct shmem_job){ r->snap->shmem[i], fd };
	}
	err = shmem_fill(r->dir, jobs, n,
			 &(struct shmem_fill_opts){ .nthreads = fill_workers(r, r->shmem_bytes),
						    .share = fill_share(r, r->shmem_bytes),
						    .budget = &r->board->budget,
						    .punch = r->kinds.opts->auto_dedup, .io = r->page_io,
						    .rings = r->ring_entries != 0, .needed = ids_needed, .ctx = r,
						    .stop = guard_flag(), .failed = &r->board->failed,
						    .unpunched = &r->board->unpunched },
			 &done);
	/* told to stop, it has left out the rest: the tasks may all stand by now, and nobody would ask again */
	return err < 0 ? err : guard_check();
}

static int stage_wait(void *ctx)
{
	struct restore *r = ctx;
	int err = launch_wait(r);

	if (err >= 0)
		page_io_report(r);
	/* not before: F_SEAL_FUTURE_WRITE forbids the mappings that tasks make meanwhile */
	return err < 0 ? err : shmem_seal_all(&r->kinds);
}

static int stage_scripts(void *ctx)
{
	struct restore *r = ctx;

	return script_run_all(r->kinds.opts, "post-restore", r->root);
}

static void unlink_path(void *path)
{
	unlink(path);
}

static int stage_pidfile(void *ctx)
{
	struct restore *r = ctx;
	const char *path = r->kinds.opts->pidfile;
	auto_close int fd = -1;
	char text[16];
	int err;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set(errno, "--pidfile: create %s", path);
	restoring_undo(&r->kinds, unlink_path, arena_strdup(r->kinds.a, path));
	err = io_write(fd, text, (size_t)snprintf(text, sizeof(text), "%d", r->root));
	return err < 0 ? err_set(-err, "--pidfile: write %s", path) : 0;
}

static int commit_step(const char *name, int (*fn)(struct restore *r), struct restore *r)
{
	uint64_t from = trace_now_ns(), to;
	int err = fn(r);

	to = trace_now_ns();
	if (to - from >= 1000) /* else there was nothing to be done */
		trace_span(name, getpid(), getpid(), from, to, 0);
	return err;
}

static int stage_commit(void *ctx)
{
	struct restore *r = ctx;
	int err;

	rfiles_release(&r->kinds);
	err = commit_step("wait for GPU memory", gpu_restore_loaded, r);
	if (err >= 0)
		err = commit_step("unlock GPUs", gpu_restore_unlock, r);
	if (err >= 0)
		err = commit_step("let threads go", finish_release, r);
	if (err >= 0)
		err = commit_step("return GPU memory", gpu_restore_return, r); /* else it ends after all: it could not go on */
	if (err < 0)
		return err;
	undo_run(&r->done);
	if (r->board->unpunched)
		log_warn("--auto-dedup: %u pieces of the images could not be freed", r->board->unpunched);
	return 0;
}

static int stage_setup_scripts(void *ctx)
{
	struct restore *r = ctx;

	return script_run_all(r->kinds.opts, "pre-restore", 0);
}

static void undo_files(void *ctx)
{
	struct restore *r = ctx;

	undo_run(&r->undo);
}

static const struct stage stages[] = {
	{ "load", restore_stage_load, NULL, NULL },
	{ "plan", restore_stage_plan, NULL, NULL },
	{ "gpu", stage_gpu, NULL, done_gpu },
	{ "pre-restore", stage_setup_scripts, NULL, NULL },
	{ "files", restore_stage_files, undo_files, NULL },
	{ "assemble", restore_stage_assemble, NULL, NULL },
	{ "launch", stage_launch, undo_launch, NULL },
	{ "fill", stage_fill, NULL, NULL },
	{ "wait", stage_wait, NULL, NULL },
	{ "post-restore", stage_scripts, NULL, NULL },
	{ "pidfile", stage_pidfile, NULL, NULL },
	{ "commit", stage_commit, NULL, NULL },
};

struct restore *restore_new(const struct opts *o)
{
	struct snap *s = snap_new();
	struct restore *r = arena_alloc(s->a, sizeof(*r));

	r->snap = s;
	r->undo.a = r->done.a = s->a;
	r->pie_fd = -1;
	r->start_ns = trace_now_ns();
	r->kinds = (struct restoring){
		.opts = o, .snap = s, .a = s->a, .files = &r->files, .undo = &r->undo, .done = &r->done
	};
	return r;
}

/*
 * Until the root ends. Signals that the user sends to thaw are for it; those of a terminal it has had already, if it
 * is on it at all (and thaw passes them on to its engine as if a user had sent them).
 */
static int wait_for_root(const struct restore *r, int *ret_status)
{
	static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP };
	siginfo_t info;
	sigset_t set;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
		sigaddset(&set, passed_on[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < ARRAY_LEN(passed_on); i++)
		signal(passed_on[i], SIG_DFL); /* ignored ones would not wait for us */
	while (!(pid = waitpid(r->root, ret_status, WNOHANG)) || (pid < 0 && errno == EINTR)) {
		int sig = sigwaitinfo(&set, &info);

		if (sig > 0 && sig != SIGCHLD && info.si_code <= 0 && !(sig == SIGINT && r->kinds.opts->shell_job))
			kill(r->root, sig);
	}
	return pid < 0 ? err_set(errno, "wait for task %d", r->root) : 0;
}

struct job { /* in memory that the engine shares with who waits for it */
	struct opts opts;
	volatile pid_t unclean; /* as in struct restore */
};

static int run(void *arg)
{
	struct job *job = arg;
	const struct opts *o = &job->opts;
	struct restore *r = restore_new(o);
	int status = 0, err;

	r->unclean = &job->unclean;
	err = stage_run_all(stages, ARRAY_LEN(stages), r);
	if (err < 0)
		return err;
	stats_write(r);
	rfiles_close(&r->kinds);
	log_info("restored %zu tasks with %zu threads", r->tree.n, r->tree.nthreads);
	if (!o->restore_detached && !o->restore_sibling && !o->leave_stopped)
		err = wait_for_root(r, &status);
	return err < 0 ? err : status;
}

int restore_run(const struct opts *o, int *ret_status)
{
	struct job *job = mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	if (job == MAP_FAILED)
		return err_set(errno, "share memory with the engine's process");
	job->opts = *o; /* a sibling of thaw must be made by thaw itself, not by a child of it: */
	status = o->restore_sibling ? run(job) : guard_run(run, job, o->restore_detached && !o->shell_job);
	if (status == -ECHILD && job->unclean)
		status = leftover_visit(o, job->unclean, status);
	munmap(job, sizeof(*job));
	if (status < 0)
		return status;
	*ret_status = status;
	return 0;
}
