/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal whose other end has gone: what a daemon keeps of the session that started it. */
#include <stdlib.h>

#include "subject.h"

int main(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, copy;
	char c;

	CHECK(master >= 0 && !grantpt(master) && !unlockpt(master), "make a pty");
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	copy = dup(slave);
	CHECK(slave >= 0 && copy >= 0 && isatty(slave), "open it");
	close(master);
	CHECK(write(slave, "x", 1) < 0 && errno == EIO, "write to a terminal that is gone");

	subject_ready();

	CHECK(write(slave, "x", 1) < 0 && errno == EIO, "write");
	CHECK(read(copy, &c, 1) == 0, "read");
	return 0;
}
