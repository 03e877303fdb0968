/* SPDX-License-Identifier: Apache-2.0 */
/* thaw pre-dump */
#include "cli/cmd.h"
#include "dump/dump.h"

int cmd_pre_dump(const struct opts *o, int *ret_exit)
{
	(void)ret_exit;
	return dump_run(o);
}
