/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of thaw (part.h), looked for from where this program is: a thaw that was moved as a whole has them. */
#include "cli/part.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

int part_find(const char *name, char ret[PATH_MAX])
{
	static const char *const place[] = { "", "/../lib/thaw", "/../lib" };
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return err_set(errno, "/proc/self/exe");
	self[len] = '\0';
	*strrchr(self, '/') = '\0';
	for (size_t i = 0; i < ARRAY_LEN(place); i++) {
		if (snprintf(ret, PATH_MAX, "%s%s/%s", self, place[i], name) >= PATH_MAX)
			continue;
		if (!access(ret, R_OK))
			return 0;
		if (errno == EACCES)
			return err_set(EACCES, "%s", ret);
	}
	return err_say(ENOENT, "%s is neither in %s nor in ../lib/thaw beside it: is thaw installed completely?", name, self);
}
