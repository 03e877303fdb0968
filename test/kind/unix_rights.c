/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors in flight: only there, or in the table as well; of a stream (with bytes before and behind) and of
 * datagrams.
 */
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "subject.h"

static void send_fd(int to, const char *text, int fd)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(sizeof(int))];
	} u = { .c = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	memcpy(CMSG_DATA(&u.c), &fd, sizeof(fd));
	CHECK(sendmsg(to, &m, 0) == (ssize_t)strlen(text), "sendmsg");
}

/* -1: no descriptor came. */
static int recv_fd(int from, size_t want, const char *text)
{
	union {
		struct cmsghdr c;
		char room[CMSG_SPACE(sizeof(int))];
	} u;
	char got[64];
	struct iovec iov = { got, want };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	ssize_t n = recvmsg(from, &m, MSG_DONTWAIT);
	int fd = -1;

	CHECK(n == (ssize_t)strlen(text) && !memcmp(got, text, (size_t)n), "%s: got %zd bytes", text, n);
	if (m.msg_controllen >= sizeof(struct cmsghdr) && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

int main(void)
{
	int st[2], dg[2], inner[2], pipe_fd[2], event, file, fd;
	uint64_t v = 5;
	char c[8];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, st) && !socketpair(AF_UNIX, SOCK_DGRAM, 0, dg), "socketpair");
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, inner) && !pipe(pipe_fd), "pair and pipe");
	event = eventfd(0, 0);
	file = open("file", O_RDWR | O_CREAT, 0644);
	CHECK(write(file, "0123456789", 10) == 10 && lseek(file, 4, SEEK_SET) == 4, "file");
	CHECK(write(pipe_fd[1], "in", 2) == 2 && send(inner[0], "inner", 5, 0) == 5, "fill");

	CHECK(send(st[0], "plain", 5, 0) == 5, "send");
	send_fd(st[0], "with", file);
	CHECK(send(st[0], "tail", 4, 0) == 4, "send");
	send_fd(dg[0], "event", event);
	send_fd(dg[0], "pipe", pipe_fd[0]);
	send_fd(dg[0], "socket", inner[1]);
	close(event);
	close(pipe_fd[0]);
	close(inner[1]);

	subject_ready();

	CHECK(recv_fd(st[1], 5, "plain") == -1, "descriptors came too early");
	fd = recv_fd(st[1], 4, "with");
	CHECK(fd >= 0 && lseek(fd, 0, SEEK_CUR) == 4 && lseek(fd, 7, SEEK_SET) == 7 && lseek(file, 0, SEEK_CUR) == 7,
	      "the same description as the one in the table");
	CHECK(recv_fd(st[1], 9, "tail") == -1, "tail");
	event = recv_fd(dg[1], 9, "event");
	CHECK(event >= 0 && write(event, &v, 8) == 8 && read(event, &v, 8) == 8 && v == 5, "eventfd");
	fd = recv_fd(dg[1], 9, "pipe");
	CHECK(fd >= 0 && read(fd, c, 8) == 2 && write(pipe_fd[1], "x", 1) == 1 && read(fd, c, 8) == 1 && c[0] == 'x',
	      "pipe");
	fd = recv_fd(dg[1], 9, "socket");
	CHECK(fd >= 0 && recv(fd, c, 8, 0) == 5 && send(fd, "y", 1, 0) == 1 && recv(inner[0], c, 8, 0) == 1, "socket");
	return 0;
}
