/* SPDX-License-Identifier: Apache-2.0 */
/* Transparent huge pages (thp.h): the file marks the mode in force by brackets, "always [madvise] never". */
#include "kern/thp.h"

#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

int thp_mode(void)
{
	auto_free char *text = NULL;
	ssize_t len = io_slurp(AT_FDCWD, "/sys/kernel/mm/transparent_hugepage/enabled", &text);

	if (len < 0)
		return (int)len;
	if (strstr(text, "[always]"))
		return THP_ALWAYS;
	if (strstr(text, "[madvise]"))
		return THP_MADVISE;
	return strstr(text, "[never]") ? THP_NEVER : -EBADMSG;
}
