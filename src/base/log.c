/* SPDX-License-Identifier: Apache-2.0 */
/* The log (log.h). The level and the descriptor are the process's, written once before any thread exists. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

static enum log_level max_level = LOG_WARN;
static int log_fd = -1;
static struct timespec born;

void log_init(enum log_level level, int fd)
{
	max_level = level;
	log_fd = fd;
	clock_gettime(CLOCK_MONOTONIC, &born);
}

static size_t stamp(char *line, size_t len, enum log_level level)
{
	static const char *const word[] = { "", "Error: ", "Warn:  ", "", "" };
	struct timespec now;
	long us;

	clock_gettime(CLOCK_MONOTONIC, &now);
	us = (now.tv_sec - born.tv_sec) * 1000000 + (now.tv_nsec - born.tv_nsec) / 1000;
	return (size_t)snprintf(line, len, "(%02ld.%06ld) %s", us / 1000000, us % 1000000, word[level]);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[1400];
	size_t head = 0, len;
	va_list ap;

	if (level > max_level)
		return;
	if (log_fd >= 0 || level > LOG_WARN)
		head = stamp(line, sizeof(line), level);
	else if (level != LOG_MSG)
		head = (size_t)snprintf(line, sizeof(line), "thaw: %s", level == LOG_WARN ? "warning: " : "");
	va_start(ap, fmt);
	vsnprintf(line + head, sizeof(line) - head - 1, fmt, ap);
	va_end(ap);
	len = strlen(text_tame(line));
	line[len++] = '\n';
	if (write(log_fd >= 0 ? log_fd : STDERR_FILENO, line, len) < 0)
		return; /* a log that cannot be written must not stop the work */
	if (log_fd >= 0 && level <= LOG_ERROR) {
		len = (size_t)snprintf(line, 8, "thaw: ");
		va_start(ap, fmt);
		vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
		va_end(ap);
		len = strlen(text_tame(line));
		line[len++] = '\n';
		if (write(STDERR_FILENO, line, len) < 0)
			return;
	}
}
