/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-refuses: --file-locks */
/* A file lock, without the option. */
#include "subject.h"

int main(void)
{
	int fd = open("file", O_RDWR | O_CREAT, 0600);
	struct flock l = { .l_type = F_WRLCK };

	CHECK(fcntl(fd, F_SETLK, &l) == 0, "lock");
	subject_ready();
	CHECK(fcntl(fd, F_GETFD) == 0, "the file");
	return 0;
}
