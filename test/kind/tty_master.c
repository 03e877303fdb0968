/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: pty masters are not supported yet
#include <stdlib.h>

#include "subject.h"

int main(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);

	CHECK(master >= 0 && !unlockpt(master), "make a pty");
	subject_ready();
	CHECK(write(master, "x", 1) == 1, "write");
	return 0;
}
