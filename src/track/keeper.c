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
#include "base/packet.h"
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
static ssize_t answer(int sock, void *buf, size_t len, int *fd, size_t most, size_t *ret_fds)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	*ret_fds = 0;
	if (poll(&p, 1, PATIENCE_MS) <= 0)
		return -1;
	return packet_take(sock, buf, len, MSG_DONTWAIT, fd, most, ret_fds);
}

int keeper_add(const struct keeper *k, const struct keeper_facts *f, int pidfd, int uffd)
{
	int errnum = EPIPE;
	size_t none;

	if (!packet_give(k->sock, f, sizeof(*f), (int[2]){ pidfd, uffd }, 2))
		return err_set(errno, "hand over the tracking of task %d", f->pid);
	if (answer(k->sock, &errnum, sizeof(errnum), NULL, 0, &none) != sizeof(errnum) || errnum)
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
	size_t n_fds;

	if (answer(l->sock, &l->facts, sizeof(l->facts), &l->uffd, 1, &n_fds) != sizeof(l->facts) || n_fds != 1) {
		close_fd(&l->uffd);
		return false;
	}
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
	size_t none;
	ssize_t n = send(l->sock, &word, 1, MSG_NOSIGNAL) == 1 ? answer(l->sock, &word, 1, NULL, 0, &none) : -1;

	close_fd(&l->sock);
	l->sock = -1;
	/* the end of the connection is its answer */
	return n == 0 || (n < 0 && errno == ECONNRESET) ? 0 : err_say(EBUSY, "the keeper of its tracking does not answer");
}
