/* SPDX-License-Identifier: Apache-2.0 */
/* A program whose file was deleted, with a deleted library-like mapping and data of its own in both. */
#include <sys/mman.h>
#include <sys/stat.h>

#include "subject.h"

static int counter = 41;

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	char buf[65536];
	ssize_t n;

	CHECK(in >= 0 && out >= 0, "copy %s", from);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		CHECK(write(out, buf, (size_t)n) == n, "copy %s", from);
	close(in);
	close(out);
}

int main(int argc, char **argv)
{
	char self[4096], *shared, *private;
	ssize_t len;
	int fd;

	if (argc < 3) {
		copy("/proc/self/exe", "copy");
		execl("copy", "copy", argv[1], "again", NULL);
		CHECK(0, "execute the copy");
	}
	counter++;
	unlink("copy");
	fd = open("data", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && ftruncate(fd, 8192) == 0 && pwrite(fd, "file", 4, 4096) == 4, "write");
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED, "map");
	close(fd);
	unlink("data");
	strcpy(shared, "in the file");
	strcpy(private, "not in the file");

	subject_ready();

	CHECK(counter == 42, "the program's data: %d", counter);
	len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len > 0 ? len : 0] = 0;
	CHECK(strstr(self, "/copy (deleted)"), "the program is %s", self);
	CHECK(!strcmp(shared, "in the file") && !strcmp(private, "not in the file"), "contents");
	CHECK(!memcmp(shared + 4096, "file", 4) && !memcmp(private + 4096, "file", 4), "contents of the file");
	strcpy(shared + 4096, "both");
	CHECK(!strcmp(private + 4096, "both"), "the two mappings are of two files");
	return 0;
}
