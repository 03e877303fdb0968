/* SPDX-License-Identifier: Apache-2.0 */
/* A file that was made without a name (O_TMPFILE), and may still get one. */
#include <sys/stat.h>

#include "subject.h"

int main(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	char self[64], text[8];
	struct stat st;

	if (fd < 0 && errno == EOPNOTSUPP)
		subject_skip("no O_TMPFILE on this file system");
	CHECK(fd >= 0 && write(fd, "text", 4) == 4, "write");
	subject_ready();
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && lseek(fd, 0, SEEK_CUR) == 4, "the file");
	CHECK(pread(fd, text, sizeof(text), 0) == 4 && !memcmp(text, "text", 4), "contents");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	CHECK(linkat(AT_FDCWD, self, AT_FDCWD, "named", AT_SYMLINK_FOLLOW) == 0, "give it a name");
	CHECK(unlink("named") == 0, "remove the name");
	return 0;
}
