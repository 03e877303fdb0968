/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix listeners, what was accepted from them (also from one that is closed by now), and connections that wait to
 * be accepted; a server and its client in two processes.
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "subject.h"

enum { WAITING = 3 };

static struct sockaddr_un sun(const char *path)
{
	struct sockaddr_un s = { .sun_family = AF_UNIX };

	strcpy(s.sun_path, path);
	return s;
}

static int listening(int type, const char *path)
{
	struct sockaddr_un s = sun(path);
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&s, sizeof(s)) && !listen(fd, 5), "listen at %s", path);
	return fd;
}

static int connected(int type, const char *path, const char *own)
{
	struct sockaddr_un s = sun(path), o = sun(own ? own : "");
	int fd = socket(AF_UNIX, type, 0);

	CHECK(fd >= 0 && (!own || !bind(fd, (struct sockaddr *)&o, sizeof(o))), "client");
	CHECK(!connect(fd, (struct sockaddr *)&s, sizeof(s)), "connect to %s", path);
	return fd;
}

static const char *names(int fd)
{
	static char text[300];
	struct sockaddr_un own = { 0 }, peer = { 0 };
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);

	CHECK(!getsockname(fd, (struct sockaddr *)&own, &own_len) &&
		      !getpeername(fd, (struct sockaddr *)&peer, &peer_len),
	      "names");
	snprintf(text, sizeof(text), "%s-%s", own.sun_path, peer.sun_path);
	return text;
}

static void talk(int a, int b, const char *what)
{
	char c = 0;

	CHECK(send(a, "1", 1, 0) == 1 && recv(b, &c, 1, 0) == 1 && c == '1', "%s: there", what);
	CHECK(send(b, "2", 1, 0) == 1 && recv(a, &c, 1, 0) == 1 && c == '2', "%s: back", what);
}

int main(void)
{
	int stream, seq, shut, cli, acc, named, named_acc, cli_seq, acc_seq, old, old_acc, left, wait_cli[WAITING],
		status;
	struct stat st;
	char text[64];
	pid_t child;

	signal(SIGPIPE, SIG_IGN);
	stream = listening(SOCK_STREAM, "stream");
	seq = listening(SOCK_SEQPACKET, "seq");
	shut = listening(SOCK_STREAM, "shut");
	CHECK(!chmod("stream", 0600), "chmod");
	cli = connected(SOCK_STREAM, "stream", NULL);
	acc = accept(stream, NULL, NULL);
	named = connected(SOCK_STREAM, "stream", "client");
	named_acc = accept4(stream, NULL, NULL, SOCK_NONBLOCK);
	cli_seq = connected(SOCK_SEQPACKET, "seq", NULL);
	acc_seq = accept(seq, NULL, NULL);
	old = connected(SOCK_STREAM, "shut", NULL);
	old_acc = accept(shut, NULL, NULL);
	left = connected(SOCK_STREAM, "shut", NULL);
	CHECK(left >= 0 && !close(accept(shut, NULL, NULL)), "accept");
	CHECK(acc >= 0 && named_acc >= 0 && acc_seq >= 0 && old_acc >= 0 && !close(shut) && !unlink("shut"), "accept");
	CHECK(send(cli, "queued", 6, 0) == 6 && send(acc_seq, "packet", 6, 0) == 6, "send");
	child = fork();
	if (!child) {
		int fd = connected(SOCK_STREAM, "stream", NULL);
		char c;

		close(cli);
		while (recv(fd, &c, 1, 0) == 1)
			CHECK(send(fd, &c, 1, 0) == 1, "the child sends");
		_exit(3);
	}
	close(cli);
	cli = accept(stream, NULL, NULL); /* the child's */
	CHECK(cli >= 0, "accept the child");
	for (int i = 0; i < WAITING; i++) {
		snprintf(text, sizeof(text), "waiting%d", (i + 2) % WAITING);
		wait_cli[i] = connected(SOCK_STREAM, "stream", text);
	}

	subject_ready();

	CHECK(!stat("stream", &st) && st.st_mode == (S_IFSOCK | 0600), "mode of the listener's file");
	CHECK(stat("shut", &st) < 0, "the file of a closed listener");
	CHECK(recv(acc, text, 9, 0) == 6 && !memcmp(text, "queued", 6) && recv(acc, text, 9, 0) == 0,
	      "queue of an accepted socket");
	CHECK(recv(cli_seq, text, 9, 0) == 6, "queue of a packet socket");
	CHECK(!strcmp(names(named), "client-stream"), "names: %s", names(named));
	CHECK(!strcmp(names(named_acc), "stream-client"), "names: %s", names(named_acc));
	CHECK(!strcmp(names(cli_seq), "-seq") && !strcmp(names(acc_seq), "seq-"), "names of packet sockets");
	CHECK(!strcmp(names(old), "-shut") && !strcmp(names(old_acc), "shut-"), "names after the listener: %s",
	      names(old));
	CHECK((fcntl(named_acc, F_GETFL) & O_NONBLOCK) && !(fcntl(named, F_GETFL) & O_NONBLOCK), "flags");
	talk(named, named_acc, "named");
	talk(cli_seq, acc_seq, "packets");
	talk(old, old_acc, "after the listener");
	CHECK(recv(left, text, 1, 0) == 0 && send(left, "", 1, 0) < 0 && errno == EPIPE, "the accepted end is gone");
	CHECK(send(cli, "c", 1, 0) == 1 && recv(cli, text, 9, 0) == 1 && text[0] == 'c', "the child's echo");
	CHECK(!close(cli) && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3,
	      "the child");
	for (int i = 0; i < WAITING; i++) {
		struct sockaddr_un peer = { 0 };
		socklen_t len = sizeof(peer);
		int fd = accept4(stream, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);

		snprintf(text, sizeof(text), "waiting%d", (i + 2) % WAITING);
		CHECK(fd >= 0 && !strcmp(peer.sun_path, text), "%d: accepted %s", i, peer.sun_path);
		talk(wait_cli[i], fd, "waiting");
	}
	CHECK(fcntl(stream, F_SETFL, O_NONBLOCK) == 0 && accept(stream, NULL, NULL) < 0 && errno == EAGAIN,
	      "nobody else waits");
	cli = connected(SOCK_STREAM, "stream", NULL);
	talk(cli, accept(stream, NULL, NULL), "a new client");
	return 0;
}
