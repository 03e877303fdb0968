/* SPDX-License-Identifier: Apache-2.0 */
/* thaw-options: --link-remap */
/* Files whose name was removed while another link to them is left. */
#include <sys/stat.h>

#include "subject.h"

int main(void)
{
	int a = open("a", O_RDWR | O_CREAT, 0600), b, fifo;
	struct stat here, there;
	char text[16];

	CHECK(write(a, "hello", 5) == 5 && link("a", "kept") == 0, "prepare");
	b = open("a", O_RDONLY);
	unlink("a");
	CHECK(mkfifo("f", 0600) == 0 && link("f", "fifo kept") == 0, "prepare a fifo");
	fifo = open("f", O_RDWR);
	unlink("f");
	CHECK(write(fifo, "data", 4) == 4, "write");

	subject_ready();

	CHECK(lseek(a, 0, SEEK_CUR) == 5 && lseek(b, 0, SEEK_CUR) == 0, "positions");
	CHECK(read(b, text, sizeof(text)) == 5 && !memcmp(text, "hello", 5), "contents");
	CHECK(fstat(a, &here) == 0 && stat("kept", &there) == 0 && here.st_ino == there.st_ino,
	      "it is not the kept link's file");
	CHECK(fstat(b, &here) == 0 && here.st_ino == there.st_ino, "the second one is not the kept link's file");
	CHECK(read(fifo, text, sizeof(text)) == 4 && !memcmp(text, "data", 4), "the fifo's contents");
	CHECK(access("a", F_OK) < 0 && access("f", F_OK) < 0, "the removed name is back");
	return 0;
}
