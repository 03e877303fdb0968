/* SPDX-License-Identifier: Apache-2.0 */
/* UDP sockets: bound, connected, fresh, IPv6; options. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "subject.h"

static int get(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(!getsockopt(fd, level, name, &value, &len), "getsockopt %d %d", level, name);
	return value;
}

static void set(int fd, int level, int name, int value)
{
	CHECK(!setsockopt(fd, level, name, &value, sizeof(value)), "setsockopt %d %d", level, name);
}

static struct sockaddr_in6 name_of(int fd)
{
	struct sockaddr_in6 a = { 0 };
	socklen_t len = sizeof(a);

	CHECK(!getsockname(fd, (struct sockaddr *)&a, &len), "getsockname");
	return a;
}

static void expect(int fd, const char *text)
{
	char got[64];
	ssize_t n = recv(fd, got, sizeof(got), 0);

	CHECK(n == (ssize_t)strlen(text) && !memcmp(got, text, (size_t)n), "\"%s\": %zd bytes", text, n);
}

int main(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six_addr = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT }, at, con_at,
			    six_at, peer;
	int srv = socket(AF_INET, SOCK_DGRAM, 0), con = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	int fresh = socket(AF_INET, SOCK_DGRAM, 0), six = socket(AF_INET6, SOCK_DGRAM, 0),
	    bcast = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(peer);

	CHECK(!bind(srv, (struct sockaddr *)&a, sizeof(a)), "bind");
	at = name_of(srv);
	CHECK(!connect(con, (struct sockaddr *)&at, sizeof(a)), "connect");
	con_at = name_of(con);
	if (six >= 0 && bind(six, (struct sockaddr *)&six_addr, sizeof(six_addr)) < 0)
		six = -1; /* no IPv6 here */
	six_at = six < 0 ? six_addr : name_of(six);
	set(srv, SOL_SOCKET, SO_RCVBUF, 70000);
	set(srv, SOL_IP, IP_PKTINFO, 1);
	set(bcast, SOL_SOCKET, SO_BROADCAST, 1);
	set(bcast, SOL_SOCKET, SO_REUSEADDR, 1);
	a.sin_addr.s_addr = htonl(INADDR_BROADCAST);
	a.sin_port = htons(9);
	set(bcast, SOL_SOCKET, SO_NO_CHECK, 1);

	subject_ready();

	CHECK(!memcmp(&at, &(struct sockaddr_in6[]){ name_of(srv) }[0], sizeof(a)), "the server's address");
	CHECK(!memcmp(&con_at, &(struct sockaddr_in6[]){ name_of(con) }[0], sizeof(a)), "the client's address");
	CHECK(!getpeername(con, (struct sockaddr *)&peer, &len) && !memcmp(&peer, &at, 8), "the client's peer");
	CHECK(send(con, "hello", 5, 0) == 5, "send");
	expect(srv, "hello");
	CHECK(sendto(srv, "answer", 6, 0, (struct sockaddr *)&con_at, sizeof(a)) == 6, "answer");
	expect(con, "answer");
	CHECK(sendto(fresh, "other", 5, 0, (struct sockaddr *)&con_at, sizeof(a)) == 5, "from another");
	CHECK(recv(con, &a, 1, 0) < 0 && errno == EAGAIN, "a connected socket hears its peer only");
	CHECK((fcntl(con, F_GETFL) & O_NONBLOCK) && !(fcntl(srv, F_GETFL) & O_NONBLOCK), "flags");
	CHECK(get(srv, SOL_SOCKET, SO_RCVBUF) == 140000 && get(srv, SOL_IP, IP_PKTINFO) == 1, "options");
	CHECK(get(bcast, SOL_SOCKET, SO_BROADCAST) == 1 && get(bcast, SOL_SOCKET, SO_REUSEADDR) == 1, "options");
	CHECK(get(bcast, SOL_SOCKET, SO_NO_CHECK) == 1 && get(srv, SOL_SOCKET, SO_REUSEADDR) == 0, "options");
	if (six >= 0) {
		CHECK(sendto(six, "six", 3, 0, (struct sockaddr *)&six_at, sizeof(six_at)) == 3, "send6");
		expect(six, "six");
	}
	return 0;
}
