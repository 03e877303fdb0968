/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's work: each request that needs the driver is a job with a thread of its own.
 *
 * So steps on different processes overlap inside the driver, and a call that never
 * comes back takes nobody else with it: its job is answered as late when its time
 * is over, and stays in the list until the call does come back.
 */
#ifndef GPU_GPU_JOB_H
#define GPU_GPU_JOB_H

#include <pthread.h>

#include "gpu/gpu_driver.h"
#include "gpu/gpu_keep.h"
#include "gpu/gpu_spare.h"
#include "gpu/gpu_start.h"
#include "gpu/gpu_wire.h"

struct gpu_job;

enum { GPU_JOB_TEXT = 8 << 10 };

struct gpu_jobs {
	struct gpu_start *start;
	const struct gpu_driver *driver; /* and */
	struct gpu_pools *pools;         /* are there when it is over */
	struct gpu_keep *keep;
	struct gpu_spare spare;
	int wake_fd; /* an eventfd: counted up when a job is done */
	pthread_mutex_t lock;
	struct gpu_job *first; /* main thread's */
	size_t n;
};

/* What a job came to. */
struct gpu_answer {
	uint64_t conn; /* as given at its start */
	uint32_t ticket;
	int result, value;
	uint64_t ns;
	char text[GPU_JOB_TEXT];
};

/* What status shows of a job. */
struct gpu_job_facts {
	const struct gpu_job *job; /* NULL: before the first */
	pid_t pid;
	const char *what;
	uint64_t from_ns;
	bool late;
};

int gpu_jobs_init(struct gpu_jobs *jobs, struct gpu_start *start, struct gpu_keep *keep) must_check;

/* Starts what is asked. Fails with a sentence when the driver is still busy with an earlier step on the process. */
/* fd: the channel of a stream, which is closed when it ends or could not be started; -1: none. */
int gpu_job_start(struct gpu_jobs *jobs, const struct gpu_request *q, uint64_t conn, int fd) must_check;

/*
 * The next answer: of a job that is done, or out of time. Each job has one. False: none is there. A lock that comes
 * about after its time is undone.
 */
bool gpu_job_answer(struct gpu_jobs *jobs, struct gpu_answer *ret);

/* Steps from *f to the next job that is not done; false: there is none. */
bool gpu_job_next(const struct gpu_jobs *jobs, struct gpu_job_facts *f);

/* Until when nothing will be out of time; 0: for ever. */
uint64_t gpu_jobs_until_ns(const struct gpu_jobs *jobs);

#endif
