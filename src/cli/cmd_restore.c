/* SPDX-License-Identifier: Apache-2.0 */
/* thaw restore: in the foreground it ends as the restored root process did, so that a shell cannot tell them apart. */
#include <sys/wait.h>

#include "cli/cmd.h"
#include "restore/restore.h"

int cmd_restore(const struct opts *o, int *ret_exit)
{
	int status = 0, r = restore_run(o, &status);

	if (r >= 0)
		*ret_exit = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return r;
}
