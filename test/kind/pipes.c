/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes: what is in them, size, flags of each end, packets, ends that are closed everywhere, ends in two tasks. */
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "settled.h"

enum { FULL = 65536, LARGE = 1 << 18 };

static int queued(int fd)
{
	int n = -1;

	ioctl(fd, FIONREAD, &n);
	return n;
}

int main(void)
{
	int plain[2], full[2], large[2], packet[2], eof[2], broken[2], talk[2], reply[2], again_r, again_w, both,
		status;
	char *text = malloc(LARGE), self[64];
	struct f_owner_ex owner = { F_OWNER_PID, getpid() };
	pid_t child;

	for (int i = 0; i < LARGE; i++)
		text[i] = (char)(i / 3);
	CHECK(!pipe(plain) && !pipe2(full, O_NONBLOCK) && !pipe(large) && !pipe2(packet, O_DIRECT | O_NONBLOCK),
	      "pipe");
	CHECK(!pipe(eof) && !pipe(broken) && !pipe2(talk, O_CLOEXEC) && !pipe(reply), "pipe");
	CHECK(write(plain[1], "hello", 5) == 5, "write");
	CHECK(write(full[1], text, FULL) == FULL, "fill a pipe");
	CHECK(fcntl(large[1], F_SETPIPE_SZ, LARGE) == LARGE && write(large[1], text, 200000) == 200000, "a large pipe");
	CHECK(write(packet[1], "packet", 6) == 6, "a packet");
	CHECK(write(eof[1], "last", 4) == 4 && close(eof[1]) == 0 && close(broken[0]) == 0, "close");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", plain[0]);
	again_r = open(self, O_RDONLY | O_NONBLOCK);
	again_w = open(self, O_WRONLY);
	both = open(self, O_RDWR);
	CHECK(again_r >= 0 && again_w >= 0 && both >= 0, "open anew");
	CHECK(!fcntl(talk[0], F_SETOWN_EX, &owner) && !fcntl(talk[0], F_SETSIG, SIGUSR1), "owner");
	CHECK(!fcntl(talk[0], F_SETFL, O_ASYNC), "O_ASYNC");
	signal(SIGUSR1, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	child = fork();
	if (!child) {
		char c;

		close(talk[1]);
		close(reply[0]);
		while (read(talk[0], &c, 1) == 1)
			CHECK(write(reply[1], &c, 1) == 1, "the child writes");
		_exit(7);
	}
	close(talk[0]);
	close(reply[1]);

	settled_in_read(child);
	subject_ready();

	CHECK(queued(plain[0]) == 5 && read(plain[0], text, 5) == 5 && !memcmp(text, "hello", 5), "contents");
	CHECK(read(again_r, text, 1) < 0 && errno == EAGAIN, "O_NONBLOCK of another description");
	CHECK(!(fcntl(plain[0], F_GETFL) & O_NONBLOCK), "O_NONBLOCK of the first description");
	CHECK(write(again_w, "x", 1) == 1 && write(both, "y", 1) == 1 && read(both, text, 9) == 2, "the same pipe");
	CHECK(write(full[1], text, 1) < 0 && errno == EAGAIN, "a full pipe is not full");
	CHECK(queued(full[0]) == FULL, "a full pipe has %d", queued(full[0]));
	CHECK(fcntl(large[0], F_GETPIPE_SZ) == LARGE && queued(large[0]) == 200000, "a large pipe");
	CHECK(read(large[0], text, LARGE) == 200000 && text[199999] == (char)(199999 / 3), "contents of a large pipe");
	CHECK(write(packet[1], "two", 3) == 3, "write a packet");
	CHECK(read(packet[0], text, 100) == 6 && read(packet[0], text, 100) == 3, "packets have lost their borders");
	CHECK(read(eof[0], text, 100) == 4 && read(eof[0], text, 100) == 0, "no end of file");
	CHECK(write(broken[1], "x", 1) < 0 && errno == EPIPE, "no EPIPE");
	CHECK(write(talk[1], "?", 1) == 1 && read(reply[0], text, 1) == 1 && *text == '?', "the child does not answer");
	CHECK(fcntl(talk[1], F_GETFD) == FD_CLOEXEC, "FD_CLOEXEC");
	close(talk[1]);
	CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7, "the child did not see the end: %x",
	      status);
	CHECK(read(reply[0], text, 1) == 0, "an end of the child's is left open");
	return 0;
}
