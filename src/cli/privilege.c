/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Advice for who may not (privilege.h). In one place, and only when all has failed: a call says that it was not
 * permitted, never why, and of what thaw does there is hardly a call that may not say so.
 */
#include "cli/privilege.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kern/feature.h"

enum { FEW = 3 };

/* The capabilities' names, which are what its row begins with. */
static size_t add_missing(enum feature f, char *text, size_t len, bool first)
{
	struct feature_report report;

	feature_try(f, &report);
	if (!report.missing)
		return 0;
	return (size_t)snprintf(text, len, "%s%.*s", first ? "" : ", ", (int)strcspn(report.what, ":"), report.what);
}

static unsigned list_missing(char text[PRIVILEGE_ADVICE_LEN])
{
	size_t len = 0;
	unsigned n = 0;

	*text = 0;
	for (enum feature f = FEATURE_CAP_CHECKPOINT; f <= FEATURE_CAP_IPC_LOCK && n <= FEW; f++) {
		/* the first row names it already, if neither is there */
		size_t more = f == FEATURE_CAP_SYS_ADMIN && n ? 0 :
			      add_missing(f, text + len, PRIVILEGE_ADVICE_LEN - len, !n);

		n += more != 0;
		len += more;
		if (len >= PRIVILEGE_ADVICE_LEN)
			break;
	}
	return n;
}

const char *privilege_advice(int err, char text[PRIVILEGE_ADVICE_LEN])
{
	char caps[PRIVILEGE_ADVICE_LEN];
	unsigned n;

	*text = 0;
	if (err != -EPERM && err != -EACCES)
		return text;
	n = list_missing(caps);
	if (n > FEW)
		snprintf(text, PRIVILEGE_ADVICE_LEN,
			 ": %s (thaw check says which privileges are missing)",
			 geteuid() ? "run thaw as root" : "run thaw with more of root's capabilities");
	else if (n)
		snprintf(text, PRIVILEGE_ADVICE_LEN, ": thaw lacks %.200s, perhaps for this", caps);
	return text;
}
