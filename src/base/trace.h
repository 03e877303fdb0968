/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timeline behind --trace FILE: Chrome trace-event JSON, which Perfetto and
 * chrome://tracing open. Spans are recorded from any thread; without trace_open()
 * every call returns at once.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stdint.h>

#include "base/err.h"

int trace_open(const char *path) must_check;
void trace_close(void);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t trace_now_ns(void);

/* Rows of a task that are no thread's: above all thread IDs. */
enum { TRACE_GPU_MEMORY = (4 << 20) + 1, TRACE_GPU_DRIVER };

/* A span on row (pid, tid), with an optional byte count (0: none). Names are copied. */
void trace_span(const char *name, int pid, int tid, uint64_t from_ns, uint64_t to_ns, uint64_t bytes);
/* From then till now on the row of this thread, which is a worker of the engine's. */
void trace_worker(const char *name, uint64_t from_ns, uint64_t bytes);
/* Names a row group or a row (tid 0: the group). */
void trace_name(int pid, int tid, const char *name);

#endif
