/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's process (keeper.h): one loop over poll(2). It allocates little, logs nothing, and trusts root alone. */
#include "track/keeper_main.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/packet.h"

/* One task: when it ends (pidfd), or somebody takes it over, there is nothing more to keep. */
struct kept {
	struct keeper_facts facts;
	int pidfd, uffd, listen;
	int visitor; /* whoever was told and has not hung up yet; -1: nobody */
};

struct keeping {
	struct kept *v;
	size_t n;
	int sock; /* the dump that hands over; -1: it is done */
};

socklen_t keeper_name(pid_t pid, struct sockaddr_un *ret)
{
	struct stat ns = { 0 };
	int len;

	stat("/proc/self/ns/pid", &ns);
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	/* a name that begins with NUL is abstract: it is gone with its socket */
	len = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "thaw-track-%lu-%d", (unsigned long)ns.st_ino, pid);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

static void drop(struct keeping *k, size_t i)
{
	struct kept *t = &k->v[i];

	close_fd(&t->listen); /* first: who sees us hang up may bind the name */
	close_fd(&t->uffd);
	close_fd(&t->pidfd);
	close_fd(&t->visitor);
	k->v[i] = k->v[--k->n];
}

/* Returns 0 or an errno, for the dump. */
static int keep(struct keeping *k, struct kept t)
{
	struct sockaddr_un at;
	socklen_t len = keeper_name(t.facts.pid, &at);
	struct kept *more = realloc(k->v, (k->n + 1) * sizeof(*more));

	if (!more)
		return ENOMEM;
	k->v = more;
	t.listen = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t.listen < 0 || bind(t.listen, (struct sockaddr *)&at, len) < 0 || listen(t.listen, 4) < 0) {
		int errnum = errno;

		close_fd(&t.listen);
		return errnum;
	}
	k->v[k->n++] = t;
	return 0;
}

static void close_socket(struct keeping *k)
{
	close_fd(&k->sock);
	k->sock = -1;
}

static void take_one(struct keeping *k)
{
	struct kept t = { .visitor = -1 };
	int fd[2], errnum;
	size_t n_fds;

	if (packet_take(k->sock, &t.facts, sizeof(t.facts), 0, fd, 2, &n_fds) != sizeof(t.facts) || n_fds != 2) {
		packet_close(fd, n_fds);
		close_socket(k);
		return;
	}
	t.pidfd = fd[0];
	t.uffd = fd[1];
	errnum = keep(k, t);
	if (errnum)
		packet_close(fd, 2);
	(void)!send(k->sock, &errnum, sizeof(errnum), MSG_NOSIGNAL);
}

static void receive_visitor(struct kept *t)
{
	struct ucred c = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(c);

	t->visitor = accept4(t->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (t->visitor < 0)
		return;
	if (getsockopt(t->visitor, SOL_SOCKET, SO_PEERCRED, &c, &len) < 0 || (c.uid && c.uid != geteuid()) ||
	    !packet_give(t->visitor, &t->facts, sizeof(t->facts), &t->uffd, 1)) {
		close(t->visitor);
		t->visitor = -1;
	}
}

/* True: the task is somebody else's now. */
static bool hear_visitor(struct kept *t)
{
	char word = 0;
	ssize_t n = recv(t->visitor, &word, 1, 0);

	if (n == 1 && word == KEEPER_LET_GO)
		return true;
	if (n >= 0 || errno != EAGAIN) {
		close(t->visitor);
		t->visitor = -1;
	}
	return false;
}

/* p: as many as there are tasks, twice, behind that of the dump. */
static void look(struct keeping *k, const struct pollfd *p)
{
	size_t n = k->n;

	if (p[0].revents)
		take_one(k);
	while (n-- > 0) { /* backwards: drop() moves the last one, which has had its turn or is new */
		struct kept *t = &k->v[n];

		if (p[1 + 2 * n].revents) {
			drop(k, n);
			continue;
		}
		if (!p[2 + 2 * n].revents)
			continue;
		if (t->visitor < 0)
			receive_visitor(t);
		else if (hear_visitor(t))
			drop(k, n);
	}
}

static void loop(struct keeping *k)
{
	while (k->n || k->sock >= 0) {
		struct pollfd *p = calloc(1 + 2 * k->n, sizeof(*p));

		if (!p)
			return;
		p[0] = (struct pollfd){ .fd = k->sock, .events = POLLIN };
		for (size_t i = 0; i < k->n; i++) {
			const struct kept *t = &k->v[i];

			p[1 + 2 * i] = (struct pollfd){ .fd = t->pidfd, .events = POLLIN };
			p[2 + 2 * i] = (struct pollfd){ .fd = t->visitor < 0 ? t->listen : t->visitor,
							.events = POLLIN };
		}
		if (poll(p, 1 + 2 * k->n, -1) > 0)
			look(k, p);
		free(p);
	}
}

/* Out of reach of thaw's terminal, process group and files. */
static void detach(int sock)
{
	struct rlimit files;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	(void)!chdir("/");
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		dup2(null, fd);
	dup2(sock, 3);
	close_range(4, ~0u, 0);
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	prctl(PR_SET_NAME, "thaw-track");
}

void keeper_main(int sock)
{
	struct keeping k = { .sock = 3 };

	detach(sock);
	loop(&k);
	_exit(0);
}
