/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two hundred processes three levels deep: a root, 10 children, 189 grandchildren. Some children lead a session of
 * their own, others a process group; grandchildren share copy-on-write memory, a pipe to their parent and a shared
 * counter with all. When told, the root passes a word down through the pipes, every process checks its relatives, its
 * memory and its descriptors, and reports by its exit code; a parent collects its children's.
 */
#include "subject.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { CHILDREN = 10, ALL = 200, PAGES = 64, PAGE_LEN = 4096 };

struct board {
	atomic_int up;           /* processes that stand */
	atomic_int seen;         /* processes that found all well */
	pid_t pid[ALL], ppid[ALL], sid[ALL], pgid[ALL];
};

static struct board *board;
static char *cow;

static int grandchildren(int child)
{
	return (ALL - 1 - CHILDREN) / CHILDREN + (child < (ALL - 1 - CHILDREN) % CHILDREN);
}

static void note(int slot)
{
	board->pid[slot] = getpid();
	board->ppid[slot] = getppid();
	board->sid[slot] = getsid(0);
	board->pgid[slot] = getpgrp();
	cow[(slot % PAGES) * PAGE_LEN] = (char)slot; /* its own copy of one page */
	atomic_fetch_add(&board->up, 1);
}

static void well(int slot)
{
	CHECK(board->pid[slot] == getpid(), "process %d: PID", slot);
	CHECK(board->ppid[slot] == getppid(), "process %d: parent", slot);
	CHECK(board->sid[slot] == getsid(0), "process %d: session", slot);
	CHECK(board->pgid[slot] == getpgrp(), "process %d: process group", slot);
	for (int i = 0; i < PAGES; i++)
		CHECK(cow[i * PAGE_LEN + 1] == 'c', "process %d: page %d", slot, i);
	CHECK(cow[(slot % PAGES) * PAGE_LEN] == (char)slot, "process %d: own page", slot);
	atomic_fetch_add(&board->seen, 1);
}

static void told(int fd)
{
	char c;

	while (read(fd, &c, 1) != 1)
		CHECK(errno == EINTR, "pipe from the parent");
	CHECK(c == 'g', "word from the parent");
}

static void collect(int n)
{
	for (int i = 0; i < n; i++) {
		int st = -1;

		while (wait(&st) < 0 && errno == EINTR)
			;
		CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 0, "a child ended with %x", (unsigned)st);
	}
}

static void tell(const int *fd, int n)
{
	for (int i = 0; i < n; i++)
		CHECK(write(fd[i], "g", 1) == 1, "pipe to a child");
}

/* Forks n processes that run fn(slot, read end of their pipe); the write ends go to ret_fd. */
static void family(int n, int slot, void (*fn)(int slot, int fd), int *ret_fd)
{
	for (int i = 0; i < n; i++) {
		int p[2];
		pid_t pid;

		CHECK(!pipe(p), "pipe");
		pid = fork();
		CHECK(pid >= 0, "fork");
		if (!pid) {
			close(p[1]);
			for (int k = 0; k < i; k++)
				close(ret_fd[k]);
			fn(slot + i, p[0]);
			_exit(0);
		}
		close(p[0]);
		ret_fd[i] = p[1];
	}
}

static void grandchild(int slot, int fd)
{
	note(slot);
	told(fd);
	well(slot);
}

static void child(int slot, int fd)
{
	int n = grandchildren(slot - 1), first = 1 + CHILDREN, down[ALL];

	for (int i = 0; i < slot - 1; i++)
		first += grandchildren(i);
	if (slot % 3 == 0)
		CHECK(setsid() > 0, "setsid");
	else if (slot % 3 == 1)
		CHECK(!setpgid(0, 0), "setpgid");
	family(n, first, grandchild, down);
	note(slot);
	told(fd);
	well(slot);
	tell(down, n);
	collect(n);
}

static void *map(size_t len, int flags)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED, "mmap");
	return p;
}

int main(void)
{
	int down[CHILDREN];

	board = map(sizeof(*board), MAP_SHARED);
	cow = map(PAGES * PAGE_LEN, MAP_PRIVATE);
	memset(cow, 'c', PAGES * PAGE_LEN);
	family(CHILDREN, 1, child, down);
	note(0);
	while (atomic_load(&board->up) < ALL)
		usleep(1000);
	subject_ready();
	well(0);
	tell(down, CHILDREN);
	collect(CHILDREN);
	CHECK(board->seen == ALL, "%d of %d processes are well", board->seen, ALL);
	return 0;
}
