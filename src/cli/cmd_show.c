/* SPDX-License-Identifier: Apache-2.0 */
/* thaw show */
#include "cli/cmd.h"
#include "cli/show.h"

int cmd_show(const struct opts *o, int *ret_exit)
{
	(void)ret_exit;
	return show_run(o);
}
