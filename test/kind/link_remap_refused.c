/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-refuses: --link-remap */
/* A file whose name was removed while another link to it is left. */
#include "subject.h"

int main(void)
{
	int fd = open("a", O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0 && link("a", "kept") == 0 && unlink("a") == 0, "prepare");
	subject_ready();
	CHECK(write(fd, "x", 1) == 1, "write");
	return 0;
}
