/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watched files: by number, by a number that is closed or another file's meanwhile, twice under two numbers,
 * twice under one; sets in sets; one-shot entries that have fired; exclusive and edge-triggered ones.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <stdint.h>
#include <sys/wait.h>

#include "subject.h"

static void watch(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	CHECK(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), "watch %d", fd);
}

static int poke(int fd)
{
	uint64_t one = 1;

	return write(fd, &one, sizeof(one)) == sizeof(one);
}

static int drain(int fd)
{
	uint64_t v;

	return read(fd, &v, sizeof(v)) == sizeof(v);
}

/* Does one event with this datum come, and no other? */
static int tells(int ep, uint64_t data)
{
	struct epoll_event ev[8];
	int n = epoll_wait(ep, ev, 8, 1000);

	return n == 1 && ev[0].data.u64 == data;
}

static int silent(int ep)
{
	struct epoll_event ev;

	return epoll_wait(ep, &ev, 1, 0) == 0;
}

/* What subject_ready() does for the first process. */
static void wait_told(void)
{
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigdelset(&mask, SIGTERM);
	while (!subject_told)
		sigsuspend(&mask);
}

int main(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), by_key = epoll_create1(0), inner = epoll_create1(0),
	    outer = epoll_create1(0);
	int plain = eventfd(0, EFD_NONBLOCK), moved, taken, closed, kept, same, in, once, edge, excl, sig,
	    sets = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 9 };
	int child_ep = epoll_create1(0), child_in = eventfd(0, EFD_NONBLOCK), status;
	sigset_t usr1;
	pid_t pid;

	watch(ep, plain, EPOLLIN, 1);
	/* its number is another file's */
	taken = eventfd(0, EFD_NONBLOCK);
	watch(ep, taken, EPOLLIN, 2);
	moved = dup(taken);
	CHECK(dup2(plain, taken) == taken, "dup2");
	/* its number is closed; as large as can be */
	closed = eventfd(0, EFD_NONBLOCK);
	CHECK(dup2(closed, 900) == 900, "dup2");
	watch(ep, 900, EPOLLIN, 3);
	kept = closed;
	close(900);
	/* two files under one number, one file under two */
	same = eventfd(0, EFD_NONBLOCK);
	watch(by_key, same, EPOLLIN, 4);
	in = dup(same);
	watch(by_key, in, EPOLLIN, 5);
	CHECK(dup2(plain, same) == same, "dup2");
	watch(by_key, same, EPOLLIN, 6);
	/* sets in sets, on a number below */
	watch(inner, in, EPOLLIN, 7);
	watch(outer, inner, EPOLLIN, 8);
	/* one-shot: fired */
	once = eventfd(1, EFD_NONBLOCK);
	watch(sets, once, ev.events, 9);
	CHECK(tells(sets, 9) && silent(sets), "the one-shot entry");
	edge = eventfd(0, EFD_NONBLOCK);
	watch(sets, edge, EPOLLIN | EPOLLET, 10);
	excl = eventfd(0, EFD_NONBLOCK);
	watch(sets, excl, EPOLLIN | EPOLLEXCLUSIVE, 11);
	/* a signalfd whose number is another file's */
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	sig = signalfd(-1, &usr1, SFD_NONBLOCK);
	watch(sets, sig, EPOLLIN, 12);
	CHECK(dup2(sig, 77) == 77 && dup2(plain, sig) == sig, "dup2");
	/* a set that a child has too, and a file that only the child has */
	pid = fork();
	if (!pid) {
		int own = eventfd(0, EFD_NONBLOCK);

		watch(child_ep, own, EPOLLIN, 13);
		watch(child_ep, child_in, EPOLLIN, 14);
		CHECK(poke(child_in), "tell the parent");
		wait_told();
		CHECK(poke(own) && tells(child_ep, 13) && drain(own), "the child's own");
		CHECK(poke(child_in) && tells(child_ep, 14), "what is shared");
		_exit(0);
	}
	CHECK(tells(child_ep, 14) && drain(child_in), "the child's word");

	subject_ready();

	CHECK(silent(ep) && silent(by_key) && silent(inner) && silent(outer) && silent(sets), "events out of nothing");
	CHECK(poke(moved) && tells(ep, 2) && drain(moved), "a number that is another file's");
	CHECK(poke(kept) && tells(ep, 3) && drain(kept), "a closed number");
	CHECK(poke(plain) && tells(ep, 1) && tells(by_key, 6) && drain(plain), "by number");
	CHECK(!epoll_ctl(by_key, EPOLL_CTL_DEL, in, NULL) && poke(in) && tells(by_key, 4), "two numbers");
	CHECK(tells(inner, 7) && tells(outer, 8) && drain(in) && silent(outer), "sets in sets");
	CHECK(silent(sets) && !epoll_ctl(sets, EPOLL_CTL_MOD, once, &ev) && tells(sets, 9), "arm the one-shot entry");
	CHECK(poke(edge) && tells(sets, 10) && silent(sets), "edge-triggered");
	CHECK(poke(excl) && tells(sets, 11) && drain(excl), "exclusive");
	CHECK(!kill(getpid(), SIGUSR1) && tells(sets, 12), "the signal");
	kill(pid, SIGTERM);
	CHECK(waitpid(pid, &status, 0) == pid && !status, "the child: %#x", status);
	CHECK(tells(child_ep, 14), "what the child wrote");
	return 0;
}
