/* SPDX-License-Identifier: Apache-2.0 */
/* The error trail (err.h). Fixed thread-local room, so that even ENOMEM has a sentence. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TRAIL_LEN = 1024 };

static _Thread_local char trail[TRAIL_LEN];

int err_set_at(const char *file, int line, int errnum, int with_strerror, const char *fmt, ...)
{
	const char *base = strrchr(file, '/');
	char text[TRAIL_LEN - 128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (with_strerror)
		snprintf(trail, sizeof(trail), "%s: %s [%s:%d]", text, strerror(errnum), base ? base + 1 : file, line);
	else
		snprintf(trail, sizeof(trail), "%s", text);
	return errnum > 0 ? -errnum : -EIO; /* never a success, even if errno was lost on the way here */
}

void err_prefix(int r, const char *fmt, ...)
{
	char text[2 * TRAIL_LEN];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	len = strlen(text);
	snprintf(text + len, sizeof(text) - len, ": %s", trail[0] ? trail : strerror(-r));
	memcpy(trail, text, sizeof(trail) - 1);
}

const char *err_text(void)
{
	return trail;
}

void err_clear(void)
{
	trail[0] = 0;
}

int err_adopt(int errnum, const char *text)
{
	snprintf(trail, sizeof(trail), "%s", text);
	return -errnum;
}
