/* SPDX-License-Identifier: Apache-2.0 */
/* thaw dedup */
#include <stdio.h>

#include "base/progress.h"
#include "cli/cmd.h"
#include "dump/dedup.h"

int cmd_dedup(const struct opts *o, int *ret_exit)
{
	uint64_t bytes = 0;
	char text[32];
	int r = dedup_run(o->images_dir, &bytes);

	(void)ret_exit;
	if (r >= 0)
		printf("freed %s in the parents of %s\n", progress_bytes(text, sizeof(text), bytes), o->images_dir);
	return r;
}
