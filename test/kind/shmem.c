/* SPDX-License-Identifier: Apache-2.0 */
/* Shared anonymous memory: between parent and child, at different addresses, in pieces, unmapped by one of them. */
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "subject.h"

enum { PAGE = 4096, LEN = 5 << 20 };

static void wait_told(void)
{
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	sigdelset(&mask, SIGTERM);
	while (!subject_told)
		sigsuspend(&mask);
}

static char *shared(size_t len, int prot)
{
	char *p = mmap(NULL, len, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED, "mmap");
	return p;
}

static void child(char *a, char *b, char *only)
{
	char *moved = mremap(a, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, a + (1 << 30));

	CHECK(moved == a + (1 << 30), "mremap");
	CHECK(!munmap(b, PAGE), "munmap");
	moved[0] = 'c';
	wait_told();
	CHECK(moved[LEN - 1] == 'p' && b[PAGE] == 'b', "what the parent wrote");
	moved[1] = 'd';
	only[0] = 'o';
	_exit(0);
}

int main(void)
{
	char *a = shared(LEN, PROT_READ | PROT_WRITE), *b = shared(3 * PAGE, PROT_READ | PROT_WRITE);
	char *ro = shared(PAGE, PROT_READ), *none = shared(PAGE, PROT_NONE),
	     *only = shared(PAGE, PROT_READ | PROT_WRITE);
	char *sparse = shared(64 << 20, PROT_READ | PROT_WRITE), *cut = shared(4 * PAGE, PROT_READ | PROT_WRITE);
	int status;
	pid_t pid;

	a[LEN - 1] = 'p';
	b[PAGE] = 'b';
	sparse[32 << 20] = 's';
	cut[3 * PAGE] = 'e';
	CHECK(!munmap(cut + PAGE, PAGE) && !mprotect(cut, PAGE, PROT_READ), "cut");
	CHECK(!madvise(b, 3 * PAGE, MADV_DONTDUMP), "madvise");
	pid = fork();
	if (!pid)
		child(a, b, only);
	while (a[0] != 'c')
		sched_yield();
	munmap(only, PAGE);

	subject_ready();

	CHECK(a[0] == 'c' && a[LEN - 1] == 'p' && a[PAGE] == 0, "contents");
	kill(pid, SIGTERM);
	CHECK(waitpid(pid, &status, 0) == pid && !status, "the child: %#x", status);
	CHECK(a[1] == 'd', "it is not shared any more");
	CHECK(sparse[32 << 20] == 's' && sparse[0] == 0, "the sparse one");
	CHECK(cut[3 * PAGE] == 'e' && cut[0] == 0, "the one in pieces");
	CHECK(ro[0] == 0 && !mprotect(ro, PAGE, PROT_READ | PROT_WRITE) && !mprotect(none, PAGE, PROT_READ) &&
		      none[0] == 0,
	      "the unreadable and the unwritable one");
	ro[0] = 1;
	return 0;
}
