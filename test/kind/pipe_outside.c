/* SPDX-License-Identifier: Apache-2.0 */
// thaw-refuses: outside of the tree
/* A pipe to a process that is not of the tree. */
#include <sys/wait.h>

#include "subject.h"

int main(void)
{
	int p[2], gone[2];
	char c;

	CHECK(!pipe(p) && !pipe(gone), "pipe");
	if (!fork()) {
		if (fork())
			_exit(0);
		close(p[1]);
		close(gone[0]);
		while (read(p[0], &c, 1) == 1)
			;
		_exit(0);
	}
	wait(NULL);
	close(p[0]);
	close(gone[1]);
	subject_ready();
	CHECK(write(p[1], "a", 1) == 1, "the reader is gone");
	return 0;
}
