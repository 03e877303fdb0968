/* SPDX-License-Identifier: Apache-2.0 */
/* The timeline (trace.h). One line an event; stdio's own lock serialises the threads. */
#include "base/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static FILE *out;

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
	fputs("[\n{}", out);
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

/* Names come from the host (comm, paths): what JSON cannot hold bare becomes '?'. */
static void put_name(const char *s)
{
	for (; *s; s++)
		fputc(*s == '"' || *s == '\\' || (unsigned char)*s < 0x20 ? '?' : *s, out);
}

void trace_span(const char *name, int pid, int tid, uint64_t from_ns, uint64_t to_ns, uint64_t bytes)
{
	if (!out)
		return;
	flockfile(out);
	fputs(",\n{\"ph\":\"X\",\"name\":\"", out);
	put_name(name);
	fprintf(out, "\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f", pid, tid, (double)from_ns / 1e3,
		(double)(to_ns - from_ns) / 1e3);
	if (bytes)
		fprintf(out, ",\"args\":{\"bytes\":%" PRIu64 "}", bytes);
	fputc('}', out);
	funlockfile(out);
}

void trace_name(int pid, int tid, const char *name)
{
	if (!out)
		return;
	flockfile(out);
	fprintf(out, ",\n{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":\"",
		tid ? "thread_name" : "process_name", pid, tid);
	put_name(name);
	fputs("\"}}", out);
	funlockfile(out);
}
