/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs and their threads (gpu_job.h). */
#include "gpu/gpu_job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/trace.h"
#include "gpu/gpu_give.h"
#include "gpu/gpu_step.h"
#include "gpu/gpu_stream.h"
#include "gpu/gpu_words.h"

/* The driver gives up a lock by itself; it gets the time to say so. */
enum { LOCK_GRACE_MS = 1000, JOBS_MOST = 1024 };

struct gpu_job {
	struct gpu_job *next;
	struct gpu_jobs *all;
	struct gpu_request request;
	int channel;                      /* of a stream; the file of a step that is to copy; else -1 */
	uint64_t conn, from_ns, until_ns; /* until_ns 0: no limit */
	bool late;                        /* answered already; main thread's */
	bool done;                        /* under the lock; what follows is the main thread's from then on */
	int result, value;
	uint64_t ns;
	char text[GPU_JOB_TEXT];
};

int gpu_jobs_init(struct gpu_jobs *jobs, struct gpu_start *start, struct gpu_keep *keep)
{
	*jobs = (struct gpu_jobs){ .start = start, .driver = start->driver, .pools = start->pools, .keep = keep };
	pthread_mutex_init(&jobs->lock, NULL);
	gpu_spare_init(&jobs->spare);
	jobs->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return jobs->wake_fd < 0 ? err_set(errno, "make an eventfd") : 0;
}

static bool is_step(const struct gpu_job *job)
{
	return job->request.op >= GPU_OP_STEP;
}

static const char *what(const struct gpu_job *job)
{
	return is_step(job) ? gpu_step_name((enum gpu_step)(job->request.op - GPU_OP_STEP)) : "answer";
}

static const struct gpu_map *request_map(const struct gpu_request *q, struct gpu_map *map)
{
	map->n = q->n_pairs;
	memcpy(map->pair, q->pair, q->n_pairs * sizeof(q->pair[0]));
	return map;
}

static int step_run(struct gpu_job *job)
{
	const struct gpu_request *q = &job->request;
	enum gpu_step step = (enum gpu_step)(q->op - GPU_OP_STEP);
	uint64_t from = trace_now_ns();
	int r;

	gpu_pools_step(job->all->pools, 1);
	r = gpu_step_run(job->all, q, job->channel);
	gpu_pools_step(job->all->pools, -1);
	job->ns = trace_now_ns() - from;
	if (r >= 0)
		log_info("process %d: %s took %" PRIu64 " us", q->pid, gpu_step_name(step), job->ns / 1000);
	return r;
}

static int stream_run(struct gpu_job *job)
{
	const struct gpu_stream s = {
		.driver = job->all->driver, .pools = job->all->pools, .keep = job->all->keep, .pid = job->request.pid,
		.load = job->request.op == GPU_OP_LOAD, .channel = job->channel,
	};

	return gpu_stream_serve(&s);
}

/* The driver need not be there yet. */
static int spare_run(struct gpu_job *job)
{
	struct gpu_jobs *jobs = job->all;
	bool holds = gpu_start_state(jobs->start) == 0 && gpu_pools_any(jobs->pools);

	return gpu_spare_write(&jobs->spare, holds, job->request.pid, job->text, sizeof(job->text));
}

static int job_run(struct gpu_job *job)
{
	enum gpu_state state = GPU_NONE;
	struct gpu_map map;
	pid_t tid = 0;
	int r = job->request.op == GPU_OP_SPARE ? 0 : gpu_start_wait(job->all->start);

	if (r < 0)
		return r;
	switch ((enum gpu_op)job->request.op) {
	case GPU_OP_MAP:
		return gpu_driver_check(job->all->driver, request_map(&job->request, &map));
	case GPU_OP_LENDS:
		job->value = job->all->driver->api.operation_complete != NULL;
		return 0;
	case GPU_OP_DROP:
		job->value = (int)(gpu_give_all(job->all->keep) >> 20);
		return 0;
	case GPU_OP_STATE:
		r = gpu_driver_state(job->all->driver, job->request.pid, &state);
		job->value = (int)state;
		return r;
	case GPU_OP_TID:
		r = gpu_driver_restore_tid(job->all->driver, job->request.pid, &tid);
		job->value = tid;
		return r;
	case GPU_OP_SPARE:
		return spare_run(job);
	case GPU_OP_SAVE:
	case GPU_OP_LOAD:
		return stream_run(job);
	default:
		return step_run(job);
	}
}

static void *job_thread(void *arg)
{
	struct gpu_job *job = arg;
	struct gpu_jobs *jobs = job->all;
	int wake_fd = jobs->wake_fd, r = job_run(job);
	const uint64_t one = 1;

	close_fd(&job->channel);
	pthread_mutex_lock(&jobs->lock);
	if (r < 0)
		snprintf(job->text, sizeof(job->text), "%s", err_text());
	job->result = r < 0 ? r : 0;
	job->done = true;
	pthread_mutex_unlock(&jobs->lock);
	(void)!write(wake_fd, &one, sizeof(one));
	return NULL;
}

/* Two steps on one process are never right at once, and behind one that hangs the next would hang as well. */
static int busy_check(const struct gpu_jobs *jobs, const struct gpu_request *q)
{
	for (const struct gpu_job *j = jobs->first; j; j = j->next)
		if (j->request.pid == q->pid && is_step(j) && q->op >= GPU_OP_STEP)
			return err_say(EBUSY, "process %d: the NVIDIA driver is still at its %s, since %" PRIu64 " ms", q->pid,
				       what(j), (trace_now_ns() - j->from_ns) / 1000000);
	return 0;
}

static uint64_t limit_ns(const struct gpu_request *q)
{
	uint64_t ms = q->timeout_ms;

	if (ms && q->op == GPU_OP_STEP + GPU_LOCK)
		ms += LOCK_GRACE_MS;
	return ms * 1000000;
}

int gpu_job_start(struct gpu_jobs *jobs, const struct gpu_request *q, uint64_t conn, int fd)
{
	auto_close int channel = fd;
	struct gpu_job *job;
	pthread_attr_t attr;
	pthread_t thread;
	int r = busy_check(jobs, q);

	if (r < 0)
		return r;
	if (jobs->n >= JOBS_MOST)
		return err_say(EAGAIN, "the GPU agent has %d requests to do already", JOBS_MOST);
	job = calloc(1, sizeof(*job));
	if (!job)
		return err_set(ENOMEM, "process %d: start a job for it", q->pid);
	*job = (struct gpu_job){ .next = jobs->first, .all = jobs, .request = *q, .conn = conn, .channel = channel };
	job->from_ns = trace_now_ns();
	if (limit_ns(q))
		job->until_ns = job->from_ns + limit_ns(q);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, job_thread, job);
	pthread_attr_destroy(&attr);
	if (r) {
		free(job);
		return err_set(r, "process %d: start a thread for it", q->pid);
	}
	(void)take_fd(&channel); /* the thread's */
	jobs->first = job;
	jobs->n++;
	return 0;
}

static bool job_done(struct gpu_job *job)
{
	bool done;

	pthread_mutex_lock(&job->all->lock);
	done = job->done;
	pthread_mutex_unlock(&job->all->lock);
	return done;
}

/* A lock that nobody waits for any more is taken back: the process would stand still for ever. */
static void late_end(struct gpu_jobs *jobs, const struct gpu_request *q)
{
	struct gpu_request unlock = { .op = GPU_OP_STEP + GPU_UNLOCK, .pid = q->pid };

	if (q->op == GPU_OP_STEP + GPU_LOCK && gpu_job_start(jobs, &unlock, 0, -1) < 0)
		log_warn("%s", err_text());
}

/* The answer of a job that is done; not of one that was answered before. */
static bool done_answer(const struct gpu_job *job, struct gpu_answer *ret)
{
	if (job->late) {
		log_warn("process %d: the NVIDIA driver's %s came back after %" PRIu64 " ms", job->request.pid, what(job),
			 (trace_now_ns() - job->from_ns) / 1000000);
		return false;
	}
	*ret = (struct gpu_answer){ job->conn, job->request.ticket, job->result, job->value, job->ns, "" };
	memcpy(ret->text, job->text, sizeof(ret->text));
	return true;
}

/* The driver goes on for as long as it likes; whoever asked does not wait any longer. */
static void late_answer(struct gpu_job *job, struct gpu_answer *ret)
{
	job->late = true;
	*ret = (struct gpu_answer){ .conn = job->conn, .ticket = job->request.ticket };
	ret->result = err_say(ETIMEDOUT, "process %d: the NVIDIA driver has not finished its %s in %" PRIu64 " ms",
			      job->request.pid, what(job), (job->until_ns - job->from_ns) / 1000000);
	snprintf(ret->text, sizeof(ret->text), "%s", err_text());
}

bool gpu_job_answer(struct gpu_jobs *jobs, struct gpu_answer *ret)
{
	uint64_t now = trace_now_ns();

	for (struct gpu_job **at = &jobs->first; *at;) {
		struct gpu_job *j = *at;

		if (job_done(j)) {
			bool answered = done_answer(j, ret);
			struct gpu_request q = j->request;
			bool undo = j->late && j->result >= 0;

			*at = j->next;
			jobs->n--;
			free(j);
			if (undo)
				late_end(jobs, &q);
			if (answered)
				return true;
			at = &jobs->first; /* another one may have come */
			continue;
		}
		if (!j->late && j->until_ns && j->until_ns <= now) {
			late_answer(j, ret);
			return true;
		}
		at = &j->next;
	}
	return false;
}

bool gpu_job_next(const struct gpu_jobs *jobs, struct gpu_job_facts *f)
{
	const struct gpu_job *j = f->job ? f->job->next : jobs->first;

	if (j)
		*f = (struct gpu_job_facts){ j, j->request.pid, what(j), j->from_ns, j->late };
	return j;
}

uint64_t gpu_jobs_until_ns(const struct gpu_jobs *jobs)
{
	uint64_t until = 0;

	for (const struct gpu_job *j = jobs->first; j; j = j->next)
		if (!j->late && j->until_ns && (!until || j->until_ns < until))
			until = j->until_ns;
	return until;
}
