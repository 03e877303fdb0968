/* SPDX-License-Identifier: Apache-2.0 */
/* Fifos: contents, flags of each end, an end that is closed, a reader that nobody ever wrote to. */
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "subject.h"

static short events(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, 0);
	return p.revents;
}

int main(void)
{
	int both, reader, writer, quiet, name, eof;
	struct stat a, b;
	char text[32];
	int n;

	CHECK(!mkfifo("one", 0640) && !mkfifo("quiet", 0600) && !mkfifo("eof", 0600), "mkfifo");
	both = open("one", O_RDWR);
	reader = open("one", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	writer = open("one", O_WRONLY);
	quiet = open("quiet", O_RDONLY | O_NONBLOCK);
	name = open("quiet", O_PATH);
	eof = open("eof", O_RDONLY | O_NONBLOCK);
	n = open("eof", O_WRONLY);
	CHECK(both >= 0 && reader >= 0 && writer >= 0 && quiet >= 0 && name >= 0 && eof >= 0, "open");
	CHECK(write(n, "bye", 3) == 3 && close(n) == 0, "write");
	CHECK(write(writer, "queued", 6) == 6 && fcntl(both, F_SETPIPE_SZ, 8192) == 8192, "write");
	CHECK(events(quiet) == 0, "prepare");

	subject_ready();

	CHECK(!ioctl(both, FIONREAD, &n) && n == 6, "%d bytes", n);
	CHECK(fcntl(reader, F_GETPIPE_SZ) == 8192, "size");
	CHECK(read(reader, text, 3) == 3 && read(both, text + 3, 20) == 3 && !memcmp(text, "queued", 6), "contents");
	CHECK(read(reader, text, 1) < 0 && errno == EAGAIN, "O_NONBLOCK");
	CHECK(!(fcntl(both, F_GETFL) & O_NONBLOCK) && !(fcntl(writer, F_GETFL) & O_NONBLOCK), "blocking ends");
	CHECK(fstat(both, &a) == 0 && stat("one", &b) == 0 && a.st_ino == b.st_ino, "another fifo");
	CHECK(events(quiet) == 0, "a reader without writer has events %x", events(quiet));
	CHECK(events(eof) == (POLLIN | POLLHUP), "events %x", events(eof));
	CHECK(read(eof, text, 30) == 3 && read(eof, text, 30) == 0, "end of file");
	CHECK(fstat(name, &a) == 0 && S_ISFIFO(a.st_mode) && fcntl(name, F_GETFL) & O_PATH, "a fifo's name");
	return 0;
}
