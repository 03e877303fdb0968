/* SPDX-License-Identifier: Apache-2.0 */
/* TCP sockets that have no connection: listening (IPv4, IPv6, both, two on one port), bound, fresh; options. */
#include <netinet/in.h>
#include <netinet/tcp.h>
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

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);

	CHECK(!getsockname(fd, (struct sockaddr *)&a, &len), "getsockname");
	return ntohs(a.sin6_port);
}

static int bound4(uint32_t ip, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	set(fd, SOL_SOCKET, SO_REUSEPORT, port != 0);
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a)), "bind");
	return fd;
}

static int listen6(int v6only, uint16_t port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1; /* no IPv6 here */
	set(fd, SOL_IPV6, IPV6_V6ONLY, v6only);
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 7), "listen6");
	return fd;
}

static int reach(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), r = connect(fd, (struct sockaddr *)&a, sizeof(a));

	close(fd);
	return r;
}

static int backlog(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	CHECK(!getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len) && info.tcpi_state == TCP_LISTEN, "a listener");
	return (int)info.tcpi_sacked;
}

int main(void)
{
	int one, two, first, second, bound, fresh, six, both, fd;
	uint16_t port, shared, port6, port_both;
	struct linger linger = { 1, 5 };
	socklen_t len = sizeof(linger);
	char c;

	one = bound4(INADDR_LOOPBACK, 0);
	set(one, SOL_SOCKET, SO_KEEPALIVE, 1);
	set(one, SOL_TCP, TCP_KEEPIDLE, 77);
	set(one, SOL_TCP, TCP_NODELAY, 1);
	set(one, SOL_IP, IP_TOS, 16);
	set(one, SOL_IP, IP_TTL, 33);
	set(one, SOL_SOCKET, SO_RCVBUF, 50000);
	CHECK(!setsockopt(one, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), "linger");
	CHECK(!listen(one, 16), "listen");
	two = bound4(INADDR_ANY, 0);
	set(two, SOL_SOCKET, SO_REUSEADDR, 1);
	CHECK(!listen(two, 0), "listen");
	first = bound4(INADDR_LOOPBACK, 7801);
	second = bound4(INADDR_LOOPBACK, 7801);
	CHECK(!listen(first, 3) && !listen(second, 4), "two listeners on one port");
	bound = bound4(INADDR_LOOPBACK, 0);
	fresh = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	six = listen6(1, 0);
	both = listen6(0, 0);
	port = port_of(one);
	shared = port_of(bound);
	port6 = six < 0 ? 0 : port_of(six);
	port_both = both < 0 ? 0 : port_of(both);

	subject_ready();

	CHECK(port_of(one) == port && backlog(one) == 16 && reach(port) == 0, "listener");
	CHECK(get(one, SOL_SOCKET, SO_KEEPALIVE) == 1 && get(one, SOL_TCP, TCP_KEEPIDLE) == 77, "keep-alive");
	CHECK(get(one, SOL_TCP, TCP_NODELAY) == 1 && get(two, SOL_TCP, TCP_NODELAY) == 0, "TCP_NODELAY");
	CHECK(get(one, SOL_IP, IP_TOS) == 16 && get(one, SOL_IP, IP_TTL) == 33, "IP options");
	CHECK(get(one, SOL_SOCKET, SO_RCVBUF) == 100000, "SO_RCVBUF");
	CHECK(!getsockopt(one, SOL_SOCKET, SO_LINGER, &linger, &len) && linger.l_onoff && linger.l_linger == 5,
	      "linger");
	CHECK(get(one, SOL_SOCKET, SO_REUSEADDR) == 0 && get(two, SOL_SOCKET, SO_REUSEADDR) == 1, "SO_REUSEADDR");
	CHECK(backlog(two) == 0 && backlog(first) == 3 && backlog(second) == 4, "backlogs");
	CHECK(get(first, SOL_SOCKET, SO_REUSEPORT) == 1 && port_of(second) == 7801 && reach(7801) == 0, "one port");
	CHECK(port_of(bound) == shared && reach(shared) < 0 && errno == ECONNREFUSED, "a bound socket does not listen");
	CHECK(!listen(bound, 1) && reach(shared) == 0, "now it does");
	CHECK(port_of(fresh) == 0 && (fcntl(fresh, F_GETFL) & O_NONBLOCK), "a fresh socket");
	CHECK(recv(fresh, &c, 1, 0) < 0 && errno == ENOTCONN, "a fresh socket is not connected");
	CHECK(six < 0 || (port_of(six) == port6 && get(six, SOL_IPV6, IPV6_V6ONLY) == 1 && reach(port6) < 0),
	      "IPv6 only");
	CHECK(both < 0 ||
		      (port_of(both) == port_both && get(both, SOL_IPV6, IPV6_V6ONLY) == 0 && reach(port_both) == 0),
	      "both");
	CHECK(both < 0 || (fd = accept(both, NULL, NULL)) >= 0, "accept");
	return 0;
}
