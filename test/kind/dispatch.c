/* SPDX-License-Identifier: Apache-2.0 */
/* A program that gets its own system calls as signals would get thaw's as well. */
// thaw-refuses: dispatch of system calls
#include <sys/prctl.h>

#include "subject.h"

static char selector; /* SYSCALL_DISPATCH_FILTER_ALLOW: at the moment they go to the kernel */

int main(void)
{
	if (prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector))
		subject_skip("this kernel does not dispatch system calls");
	subject_ready();
	CHECK(!prctl(59, 0, 0, 0, 0), "switch it off");
	return 0;
}
