/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets without listeners: pairs of every type, queues and their borders, halves that are closed, ends that
 * are gone, names (abstract, chosen by the kernel, path, relative path, unlinked path), one-way datagrams, options.
 */
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "subject.h"

enum { BIG = 150000 };

struct name {
	struct sockaddr_un sun;
	socklen_t len;
};

static struct name name_abstract(const char *text)
{
	struct name n = { .sun.sun_family = AF_UNIX };

	memcpy(n.sun.sun_path + 1, text, strlen(text));
	n.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(text));
	return n;
}

static struct name name_path(const char *path)
{
	struct name n = { .sun.sun_family = AF_UNIX };

	CHECK(strlen(path) < sizeof(n.sun.sun_path), "the test's directory has too long a name");
	strcpy(n.sun.sun_path, path);
	n.len = sizeof(n.sun);
	return n;
}

static struct name name_of(int fd)
{
	struct name n = { .len = sizeof(n.sun) };

	memset(&n.sun, 0, sizeof(n.sun));
	CHECK(getsockname(fd, (struct sockaddr *)&n.sun, &n.len) == 0, "getsockname");
	return n;
}

static int same_name(struct name a, struct name b)
{
	return a.len == b.len && !memcmp(&a.sun, &b.sun, a.len);
}

static int bound(int type, struct name n)
{
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&n.sun, n.len) == 0, "bind %s", n.sun.sun_path);
	return fd;
}

static int join(int fd, struct name n)
{
	return connect(fd, (struct sockaddr *)&n.sun, n.len);
}

static int opt(int fd, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	CHECK(getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0, "getsockopt %d", name);
	return value;
}

static void set(int fd, int name, int value)
{
	CHECK(setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value)) == 0, "setsockopt %d", name);
}

static char big[BIG], back[BIG + 1];

static void expect(int fd, const char *text, const char *what)
{
	ssize_t n = recv(fd, back, sizeof(back), MSG_DONTWAIT);

	CHECK(n == (ssize_t)strlen(text) && !memcmp(back, text, (size_t)n), "%s: got %zd bytes, not \"%s\"", what, n,
	      text);
}

static void expect_nothing(int fd, const char *what)
{
	CHECK(recv(fd, back, sizeof(back), MSG_DONTWAIT) < 0 && errno == EAGAIN, "%s: something is there", what);
}

int main(void)
{
	int st[2], dg[2], sp[2], half[2], gone[2], gone_dg[2], large[2], server, anon, one_way, self, kernel, path, rel,
		del, twin, old;
	struct timeval tmo = { 3, 500000 }, now;
	struct name kernel_name;
	socklen_t len = sizeof(now);
	struct stat file;

	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 / 5);

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, st), "socketpair");
	CHECK(send(st[0], "ab", 2, 0) == 2 && send(st[0], "cd", 2, 0) == 2 && send(st[1], "back", 4, 0) == 4, "send");

	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, dg), "socketpair");
	CHECK(send(dg[0], "", 0, 0) == 0 && send(dg[0], "one", 3, 0) == 3 && send(dg[0], "", 0, 0) == 0 &&
	      send(dg[0], "three", 5, 0) == 5, "send");

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sp), "socketpair");
	CHECK(send(sp[1], "first", 5, 0) == 5 && send(sp[1], "second", 6, 0) == 6, "send");
	CHECK(!shutdown(sp[1], SHUT_WR), "shutdown");

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, half) && !shutdown(half[0], SHUT_WR), "shutdown");
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, gone) && send(gone[1], "last", 4, 0) == 4 && !close(gone[1]),
	      "close");
	CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, gone_dg) && send(gone_dg[1], "last", 4, 0) == 4 && !close(gone_dg[1]),
	      "close");

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, large), "socketpair");
	set(large[0], SO_SNDBUF, 4 * BIG);
	CHECK(send(large[0], big, BIG, MSG_DONTWAIT) == BIG, "a large queue");
	set(large[0], SO_SNDBUF, 20000);

	server = bound(SOCK_DGRAM, name_abstract("thaw test"));
	one_way = bound(SOCK_DGRAM, name_path("one-way"));
	CHECK(!join(one_way, name_abstract("thaw test")), "connect");
	CHECK(send(one_way, "to the server", 13, 0) == 13, "send");
	anon = socket(AF_UNIX, SOCK_DGRAM, 0);
	self = bound(SOCK_DGRAM, name_abstract("self"));
	CHECK(!join(self, name_abstract("self")), "connect to itself");
	CHECK(send(self, "me", 2, 0) == 2, "send");
	kernel = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(!bind(kernel, (struct sockaddr *)&(struct sockaddr_un){ .sun_family = AF_UNIX }, sizeof(sa_family_t)),
	      "autobind");
	kernel_name = name_of(kernel);

	snprintf(back, sizeof(back), "%s-sock", subject_file);
	path = bound(SOCK_DGRAM, name_path(back));
	CHECK(!chmod(back, 0421) && !chown(back, 12, 34), "chown");
	CHECK(!mkdir("deep", 0755) && !chdir("deep"), "deep");
	rel = bound(SOCK_STREAM, name_path("relative"));
	del = bound(SOCK_DGRAM, name_path("deleted"));
	old = bound(SOCK_DGRAM, name_path("twin"));
	CHECK(!unlink("deleted") && !unlink("twin"), "unlink");
	twin = bound(SOCK_DGRAM, name_path("twin"));
	CHECK(!chdir(".."), "chdir");

	set(st[0], SO_SNDBUF, 30000);
	set(st[1], SO_PASSCRED, 1);
	set(anon, SO_PRIORITY, 3);
	CHECK(!setsockopt(anon, SOL_SOCKET, SO_RCVTIMEO, &tmo, sizeof(tmo)), "SO_RCVTIMEO");

	subject_ready();

	expect(st[0], "back", "stream");
	CHECK(opt(st[0], SO_SNDBUF) == 60000 && opt(st[1], SO_PASSCRED) == 1, "options of a pair");
	CHECK(opt(st[1], SO_SNDBUF) != 60000, "a buffer size");
	CHECK(recv(st[1], back, 3, 0) >= 2 && !memcmp(back, "ab", 2), "stream");
	CHECK(send(st[0], "more", 4, 0) == 4, "the pair is a pair");

	CHECK(fcntl(dg[0], F_GETFL) == (O_RDWR | O_NONBLOCK) && !(fcntl(st[0], F_GETFL) & O_NONBLOCK), "flags");
	expect(dg[1], "", "empty datagram");
	expect(dg[1], "one", "datagram");
	expect(dg[1], "", "empty datagram between");
	expect(dg[1], "three", "datagram");
	expect_nothing(dg[1], "datagram");
	CHECK(send(dg[1], "x", 1, 0) == 1, "the other way");
	expect(dg[0], "x", "the other way");

	expect(sp[0], "first", "packet");
	expect(sp[0], "second", "packet");
	CHECK(recv(sp[0], back, 9, 0) == 0 && send(sp[1], "", 1, 0) < 0 && errno == EPIPE, "half closed packets");
	CHECK(send(sp[0], "y", 1, 0) == 1, "the open half");
	expect(sp[1], "y", "the open half");

	CHECK(recv(half[1], back, 9, 0) == 0 && send(half[0], "", 1, 0) < 0 && errno == EPIPE, "half closed");
	CHECK(send(half[1], "z", 1, 0) == 1, "the open half");
	expect(half[0], "z", "the open half");
	expect(gone[0], "last", "the other end is gone");
	CHECK(recv(gone[0], back, 9, 0) == 0 && send(gone[0], "", 1, 0) < 0 && errno == EPIPE, "the other end is gone");
	expect(gone_dg[0], "last", "the other end is gone");
	CHECK(send(gone_dg[0], "", 1, 0) < 0 && errno == ECONNREFUSED, "the other end is gone");

	CHECK(recv(large[1], back, BIG, MSG_WAITALL) == BIG && !memcmp(back, big, BIG), "a large queue");
	CHECK(opt(large[0], SO_SNDBUF) == 40000, "SO_SNDBUF of a full socket");

	{
		struct name from = { .len = sizeof(from.sun) };

		memset(&from.sun, 0, sizeof(from.sun));
		CHECK(recvfrom(server, back, 99, MSG_DONTWAIT, (struct sockaddr *)&from.sun, &from.len) == 13 &&
		      !memcmp(back, "to the server", 13), "one-way queue");
		CHECK(!strcmp(from.sun.sun_path, "one-way"), "the sender's name: %s", from.sun.sun_path);
		CHECK(send(one_way, "again", 5, 0) == 5, "one-way");
		expect(server, "again", "one-way");
		CHECK(sendto(server, "answer", 6, 0, (struct sockaddr *)&from.sun, from.len) == 6, "answer");
		CHECK(recv(one_way, back, 9, MSG_DONTWAIT) == 6, "answer");
	}
	expect(self, "me", "itself");
	CHECK(send(self, "again", 5, 0) == 5, "itself");
	expect(self, "again", "itself");
	CHECK(same_name(name_of(kernel), kernel_name), "the name that the kernel chose");
	CHECK(same_name(name_of(server), name_abstract("thaw test")), "abstract name");

	snprintf(back, sizeof(back), "%s-sock", subject_file);
	CHECK(!strcmp(name_of(path).sun.sun_path, back) && !stat(back, &file), "path");
	CHECK(file.st_mode == (S_IFSOCK | 0421) && file.st_uid == 12 && file.st_gid == 34, "mode and owner");
	CHECK(!join(anon, name_path(back)) && send(anon, "p", 1, 0) == 1,
	      "connect to the path");
	expect(path, "p", "path");
	CHECK(!strcmp(name_of(rel).sun.sun_path, "relative") && !stat("deep/relative", &file), "relative path");
	CHECK(!strcmp(name_of(del).sun.sun_path, "deleted") && stat("deep/deleted", &file) < 0, "unlinked path");
	CHECK(!strcmp(name_of(old).sun.sun_path, "twin") && !strcmp(name_of(twin).sun.sun_path, "twin"), "twins");
	CHECK(!join(anon, name_path("deep/twin")) &&
	      send(anon, "t", 1, 0) == 1, "connect to the twin");
	expect(twin, "t", "the younger twin");
	expect_nothing(old, "the older twin");
	CHECK(opt(anon, SO_PRIORITY) == 3, "SO_PRIORITY");
	CHECK(!getsockopt(anon, SOL_SOCKET, SO_RCVTIMEO, &now, &len) && now.tv_sec == 3 && now.tv_usec == 500000,
	      "SO_RCVTIMEO: %ld.%06ld", (long)now.tv_sec, (long)now.tv_usec);
	return 0;
}
