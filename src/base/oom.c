/* SPDX-License-Identifier: Apache-2.0 */
/* Want of memory (oom.h). The count is the whole machine's: that of a control group is not to be seen everywhere. */
#include "base/oom.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

uint64_t oom_kills(void)
{
	static const char name[] = "\noom_kill ";
	auto_free char *text = NULL;
	const char *at;

	if (io_slurp(AT_FDCWD, "/proc/vmstat", &text) < 0)
		return 0;
	at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

void oom_volunteer(void)
{
	auto_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "1000", 4);
}
