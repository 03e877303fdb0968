/* SPDX-License-Identifier: Apache-2.0 */
/* The timeline (trace.h). One line an event; stdio's own lock serialises the threads. */
#include "base/trace.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static FILE *out;
static bool first; /* no event was written yet; under stdio's lock */

uint64_t trace_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int trace_open(const char *path)
{
	out = fopen(path, "we");
	if (!out)
		return err_set(errno, "--trace: open %s", path);
	fputs("[", out);
	first = true;
	return 0;
}

void trace_close(void)
{
	if (!out)
		return;
	fputs("\n]\n", out);
	fclose(out);
	out = NULL;
}

/* What stands between two events, and how one starts. */
static void put_event(const char *start)
{
	fputs(first ? "\n" : ",\n", out);
	fputs(start, out);
	first = false;
}

/* Names come from the host (comm, paths): what JSON cannot hold bare, and what is not ASCII, becomes '?'. */
static void put_name(const char *s)
{
	for (; *s; s++)
		fputc(*s == '"' || *s == '\\' || *s < ' ' || *s == 0x7f ? '?' : *s, out);
}

void trace_span(const char *name, int pid, int tid, uint64_t from_ns, uint64_t to_ns, uint64_t bytes)
{
	if (!out)
		return;
	flockfile(out);
	put_event("{\"ph\":\"X\",\"name\":\"");
	put_name(name);
	fprintf(out, "\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f", pid, tid, (double)from_ns / 1e3,
		(double)(to_ns - from_ns) / 1e3);
	if (bytes)
		fprintf(out, ",\"args\":{\"bytes\":%" PRIu64 "}", bytes);
	fputc('}', out);
	funlockfile(out);
}

void trace_worker(const char *name, uint64_t from_ns, uint64_t bytes)
{
	if (!out)
		return;
	if (gettid() != getpid())
		trace_name(getpid(), gettid(), "worker");
	trace_span(name, getpid(), gettid(), from_ns, trace_now_ns(), bytes);
}

void trace_name(int pid, int tid, const char *name)
{
	if (!out)
		return;
	flockfile(out);
	put_event("{\"ph\":\"M\",");
	fprintf(out, "\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":\"",
		tid ? "thread_name" : "process_name", pid, tid);
	put_name(name);
	fputs("\"}}", out);
	funlockfile(out);
}
