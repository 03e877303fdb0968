/* SPDX-License-Identifier: Apache-2.0 */
/* thaw plan */
#include "cli/cmd.h"
#include "restore/plan.h"

int cmd_plan(const struct opts *o, int *ret_exit)
{
	(void)ret_exit;
	return plan_run(o);
}
