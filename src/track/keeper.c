/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's side of the keeper (keeper.h): making one, and talking to one.
 *
 * The process is forked when the engine is still small, before it has threads and
 * tracees, and is nobody's child: it is given what it keeps over a socket pair.
 */
#include "track/keeper.h"

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "track/keeper_main.h"

enum { PATIENCE_MS = 10000 };

int keeper_begin(struct keeper *k)
{
	int pair[2], status = 0;
	pid_t pid;

	k->sock = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_set(errno, "make a socket pair for the tracking of memory");
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid)
			keeper_main(pair[1]);
		_exit(pid < 0);
	}
	close(pair[1]);
	if (pid > 0 && waitpid(pid, &status, 0) == pid && !status) {
		k->sock = pair[0];
		return 0;
	}
	close(pair[0]);
	return err_set(EAGAIN, "make the process that keeps the tracking of memory");
}

/* A byte or a struct from it, in time. */
static ssize_t answer(int sock, struct msghdr *m)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	if (poll(&p, 1, PATIENCE_MS) <= 0)
		return -1;
	return recvmsg(sock, m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
}

int keeper_add(const struct keeper *k, const struct keeper_facts *f, int pidfd, int uffd)
{
	int errnum = EPIPE;
	struct iovec v = { &errnum, sizeof(errnum) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (keeper_send(k->sock, f, sizeof(*f), (int[2]){ pidfd, uffd }, 2) < 0)
		return err_set(errno, "hand over the tracking of task %d", f->pid);
	if (answer(k->sock, &m) != sizeof(errnum) || errnum)
		return err_set(errnum, "keep the tracking of task %d", f->pid);
	return 0;
}

void keeper_finish(struct keeper *k)
{
	close_fd(&k->sock);
	k->sock = -1;
}

/* Nobody else may tell us what has not changed: the name of the socket is free for all to take. */
static bool is_trusted(int sock)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	return !getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &c, &len) && (c.uid == geteuid() || !c.uid);
}

static bool hear(struct keeper_lease *l)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} c;
	struct iovec v = { &l->facts, sizeof(l->facts) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	const struct cmsghdr *h;

	if (answer(l->sock, &m) != sizeof(l->facts))
		return false;
	h = CMSG_FIRSTHDR(&m);
	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
		return false;
	memcpy(&l->uffd, CMSG_DATA(h), sizeof(int));
	l->facts.image[KEEPER_IMAGE_LEN - 1] = 0;
	return true;
}

int keeper_find(pid_t pid, struct keeper_lease *ret)
{
	struct keeper_lease l = { .uffd = -1 };
	struct sockaddr_un at;
	socklen_t len = keeper_name(pid, &at);

	/* the name may be somebody else's, who lets us wait: without O_NONBLOCK connect() would */
	l.sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l.sock < 0)
		return err_set(errno, "make a socket");
	if (connect(l.sock, (struct sockaddr *)&at, len) < 0 || !is_trusted(l.sock) || !hear(&l)) {
		close(l.sock);
		return 0;
	}
	*ret = l;
	return 1;
}

void keeper_give_back(struct keeper_lease *l)
{
	close_fd(&l->sock);
	close_fd(&l->uffd);
	l->sock = l->uffd = -1;
}

int keeper_take(struct keeper_lease *l)
{
	char word = KEEPER_LET_GO;
	struct iovec v = { &word, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n = send(l->sock, &word, 1, MSG_NOSIGNAL) == 1 ? answer(l->sock, &m) : -1;

	close_fd(&l->sock);
	l->sock = -1;
	/* the end of the connection is its answer */
	return n == 0 || (n < 0 && errno == ECONNRESET) ? 0 : err_say(EBUSY, "the keeper of its tracking does not answer");
}
