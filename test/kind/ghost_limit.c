/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-refuses: --ghost-limit */
/* A deleted file that is too large to be carried in the images. */
#include "subject.h"

enum { LEN = (1 << 20) + 4096 };

int main(void)
{
	int fd = open("large", O_RDWR | O_CREAT, 0600);
	char *text = calloc(1, LEN);

	CHECK(write(fd, text, LEN) == LEN, "write");
	unlink("large");
	subject_ready();
	CHECK(lseek(fd, 0, SEEK_CUR) == LEN, "position");
	return 0;
}
