/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line (progress.h). One write(2) per drawing, so that log lines cannot cut it in two. */
#include "base/progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/trace.h"

#define SECOND_NS 1000000000ull

enum { QUIET_NS = 200000000, REDRAW_NS = 100000000 };

const char *progress_bytes(char *buf, size_t len, uint64_t bytes)
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double n = (double)bytes;
	size_t u = 0;

	while (n >= 1000 && u < sizeof(unit) / sizeof(unit[0]) - 1) {
		n /= 1024;
		u++;
	}
	snprintf(buf, len, u ? "%.2f %s" : "%.0f %s", n, unit[u]);
	return buf;
}

void progress_start(struct progress *p, const char *what, const _Atomic uint64_t *done, uint64_t total, bool force)
{
	bool terminal = isatty(STDERR_FILENO);

	*p = (struct progress){
		.what = what, .done = done, .total = total, .from_ns = trace_now_ns(),
		.wanted = force || terminal, .terminal = terminal,
	};
}

/* "restore: 1.25 GiB of 2.00 GiB (62 %), 1.90 GiB/s, 0.4 s left" */
static int line_make(const struct progress *p, uint64_t now, char *line, size_t len)
{
	uint64_t done = *p->done;
	double secs = (double)(now - p->from_ns) / (double)SECOND_NS, rate = (double)done / secs;
	char have[32], all[32], speed[32];
	int n;

	progress_bytes(have, sizeof(have), done);
	progress_bytes(speed, sizeof(speed), (uint64_t)rate);
	if (!p->total || done > p->total)
		return snprintf(line, len, "%s: %s, %s/s", p->what, have, speed);
	n = snprintf(line, len, "%s: %s of %s (%d %%), %s/s", p->what, have,
		     progress_bytes(all, sizeof(all), p->total), (int)(100 * done / p->total), speed);
	if (done)
		n += snprintf(line + n, len - (size_t)n, ", %.1f s left", (double)(p->total - done) / rate);
	return n;
}

void progress_tick(struct progress *p)
{
	uint64_t now = trace_now_ns();
	char text[160], line[180];
	int len;

	if (!p->wanted || now - p->from_ns < QUIET_NS || now - p->drawn_ns < (p->terminal ? REDRAW_NS : SECOND_NS))
		return;
	p->drawn_ns = now;
	line_make(p, now, text, sizeof(text));
	/* \e[K: clears what a longer line left */
	len = snprintf(line, sizeof(line), p->terminal ? "\r%s\033[K" : "%s\n", text);
	p->drawn = write(STDERR_FILENO, line, (size_t)len) > 0 || p->drawn;
}

void progress_end(struct progress *p)
{
	static const char wipe[] = "\r\033[K";

	if (p->drawn && p->terminal && write(STDERR_FILENO, wipe, strlen(wipe)) < 0)
		return;
	p->wanted = false;
}
