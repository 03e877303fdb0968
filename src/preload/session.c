/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The door, and the thread behind it (ask.h).
 *
 * The thread is there only in programs that have memory to be taken away. It blocks all signals, and between sessions
 * it waits in one recvmsg(), in which a dump finds it like any other thread. It is the only one that calls the driver
 * while the gate is closed, and past the gate.
 */
#include "preload/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/packet.h"
#include "preload/away.h"
#include "preload/gate.h"

enum { HIGH_FD = 512 }; /* where programs rarely look */

_Static_assert((int)ASK_PIECES <= (int)PACKET_FDS, "a packet of pieces");

static struct {
	struct ask_door *door;
	int mine, theirs;
} session = { .mine = -1, .theirs = -1 };

static bool answer(int s, int result, uint64_t n, const char *what, int cuda)
{
	struct ask_answer a = { .result = result, .n = n };

	if (result < 0)
		snprintf(a.text, sizeof(a.text), cuda ? "%s: CUDA error %d" : "%s", what, cuda);
	return packet_give(s, &a, sizeof(a), NULL, 0);
}

/* Exports and sends up to ASK_PIECES of them. */
static int batch_give(int s, const struct ask_piece *p, size_t n)
{
	int fd[ASK_PIECES], r = 0;
	size_t made = 0;

	while (made < n && !(r = away_export(&p[made], &fd[made])))
		made++;
	if (!r && !packet_give(s, p, n * sizeof(*p), fd, n))
		r = -1;
	packet_close(fd, made);
	return r;
}

static bool do_close(int s, const struct ask_request *q)
{
	struct ask_piece *v;
	bool ok;
	size_t n;
	int r;

	if (away_is())
		return answer(s, -EALREADY, 0, "its memory is away already", 0);
	r = gate_close(q->timeout_ms);
	if (r < 0)
		return answer(s, r, 0, r == -EUSERS ? "too many threads call CUDA" : "a CUDA call does not come back", 0);
	r = away_settle();
	if (!r)
		r = away_own();
	if (r || gate_keep() < 0) {
		gate_open();
		return answer(s, r ? -EIO : -ETIMEDOUT, 0, r ? "waiting for the GPU, or owning its memory" : "the GPU does not finish its work", r);
	}
	v = away_list(&n);
	if (!v)
		return answer(s, -ENOMEM, 0, "no memory for the list", 0);
	ok = answer(s, 0, n, NULL, 0);
	for (size_t i = 0; i < n && ok; i += ASK_PIECES)
		ok = !batch_give(s, v + i, n - i < ASK_PIECES ? n - i : ASK_PIECES);
	free(v);
	return ok; /* a session that breaks off here opens the gate */
}

static bool do_release(int s)
{
	int r = away_release();

	return answer(s, r ? -EIO : 0, 0, "letting go of GPU memory", r);
}

static bool do_return(int s, const struct ask_request *q)
{
	int fd[ASK_PIECES], r = 0;
	struct ask_piece v[ASK_PIECES];
	size_t n_fds;

	for (uint64_t left = q->n; left;) {
		ssize_t got = packet_take(s, v, sizeof(v), 0, fd, ASK_PIECES, &n_fds);
		size_t n = got > 0 ? (size_t)got / sizeof(v[0]) : 0;

		for (size_t i = 0; i < n && n == n_fds && !r; i++)
			r = away_take_back(&v[i], fd[i]);
		packet_close(fd, n_fds);
		if (!n || n != n_fds || n > left)
			return false;
		left -= n;
	}
	if (!r && away_end() < 0)
		return answer(s, -ENODATA, 0, "some memory is still away", 0);
	return answer(s, r ? -EIO : 0, 0, "mapping GPU memory", r);
}

/* What cannot be exchanged now, for want of room, stays usable, and is tried again before the next dump. */
static bool do_own(int s)
{
	int r;

	if (away_is())
		return answer(s, -ENODATA, 0, "some memory is still away", 0);
	r = away_own();
	gate_open();
	return answer(s, r ? -ENOMEM : 0, 0, "making GPU memory its own", r);
}

static void session_serve(int s)
{
	struct ask_request q = { 0 };
	int fd[ASK_PIECES];
	bool ok = true;

	while (ok) {
		size_t n;

		ok = packet_take(s, &q, sizeof(q), 0, fd, ASK_PIECES, &n) == sizeof(q);
		packet_close(fd, n);
		if (!ok)
			break;
		ok = q.op == ASK_CLOSE ? do_close(s, &q) : q.op == ASK_RELEASE ? do_release(s) :
		     q.op == ASK_RETURN ? do_return(s, &q) : q.op == ASK_OWN ? do_own(s) : false;
	}
	close(s);
	if (away_is())
		return;
	(void)away_own();
	gate_open();
}

static void *session_thread(void *arg)
{
	int fd[ASK_PIECES];
	char byte = 0;

	(void)arg;
	prctl(PR_SET_NAME, ASK_NAME);
	for (;;) {
		size_t n;

		if (packet_take(session.mine, &byte, 1, 0, fd, ASK_PIECES, &n) <= 0)
			break; /* the program closed it: it is dumped by the driver's own path then */
		if (n == 1)
			session_serve(fd[0]);
		else
			packet_close(fd, n);
	}
	session.door->fd = -1;
	return NULL;
}

static int fd_high(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_FD);

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

static bool door_make(void)
{
	int fd = memfd_create(ASK_NAME, MFD_CLOEXEC), pair[2];
	void *p = MAP_FAILED;

	if (fd >= 0 && !ftruncate(fd, sysconf(_SC_PAGESIZE)))
		p = mmap(NULL, sizeof(*session.door), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	if (p == MAP_FAILED)
		return false;
	madvise(p, sizeof(*session.door), MADV_DONTFORK);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
		munmap(p, sizeof(*session.door));
		return false;
	}
	session.mine = fd_high(pair[0]);
	session.theirs = fd_high(pair[1]);
	session.door = p;
	return true;
}

void session_start(void)
{
	sigset_t all, old;
	pthread_t t;
	int r;

	if (session.door || !door_make())
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t, NULL, session_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return; /* the door stays shut */
	pthread_detach(t);
	*session.door = (struct ask_door){ .version = ASK_VERSION, .fd = session.theirs };
	__atomic_store_n(&session.door->magic, ASK_MAGIC, __ATOMIC_SEQ_CST);
}

void session_forked(void)
{
	if (session.mine >= 0) {
		close(session.mine);
		close(session.theirs);
	}
	session.mine = session.theirs = -1;
	session.door = NULL; /* the mapping was not inherited */
}
