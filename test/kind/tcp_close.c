/* SPDX-License-Identifier: Apache-2.0 */
// thaw-options: --tcp-close
/* TCP connections are dropped: both ends read the end of the stream and cannot write; the listener is as it was. */
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "subject.h"

static struct sockaddr_in addr;

static int connected(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(!connect(fd, (struct sockaddr *)&addr, sizeof(addr)), "connect");
	return fd;
}

static void dropped(int fd, const char *what)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP };
	char c;

	CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLIN) && (p.revents & POLLRDHUP), "%s: poll %x", what, p.revents);
	CHECK(recv(fd, &c, 1, 0) == 0, "%s: read", what);
	CHECK(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "%s: write", what);
}

int main(void)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), cli, acc, ended, ended_acc, half, half_acc;
	socklen_t len = sizeof(addr);
	char c;

	addr = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	CHECK(!bind(l, (struct sockaddr *)&addr, sizeof(addr)) && !listen(l, 9), "listen");
	CHECK(!getsockname(l, (struct sockaddr *)&addr, &len), "getsockname");
	cli = connected();
	acc = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	CHECK(send(cli, "lost", 4, 0) == 4, "send");
	ended = connected();
	ended_acc = accept(l, NULL, NULL);
	half = connected();
	half_acc = accept(l, NULL, NULL);
	CHECK(!close(ended_acc) && recv(ended, &c, 1, 0) == 0 && !shutdown(ended, SHUT_RDWR), "an ended connection");
	CHECK(!shutdown(half, SHUT_WR) && recv(half_acc, &c, 1, 0) == 0, "half closed");

	subject_ready();

	if (send(cli, "x", 1, MSG_NOSIGNAL) == 1) { /* the original, left running */
		CHECK(recv(acc, &c, 1, 0) == 1 && c == 'l', "the original's connection");
		return 0;
	}
	dropped(cli, "connected");
	dropped(acc, "accepted");
	dropped(ended, "ended");
	dropped(half, "half closed");
	dropped(half_acc, "the other half");
	CHECK(fcntl(acc, F_GETFL) & O_NONBLOCK, "flags");
	cli = connected();
	acc = accept(l, NULL, NULL);
	CHECK(acc >= 0 && send(cli, "n", 1, 0) == 1 && recv(acc, &c, 1, 0) == 1 && c == 'n', "a new connection");
	return 0;
}
