/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of every sort that need no other kind: files, protection, advice, locks, guard pages, stacks that grow. */
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "subject.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 8
#endif

enum { PAGE = 4096, MIB = 1 << 20 };

static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

static int readable(const volatile char *p)
{
	if (sigsetjmp(fault, 1))
		return 0;
	(void)*p;
	return 1;
}

static char *anon(size_t len, int prot, int flags)
{
	char *p = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	CHECK(p != MAP_FAILED, "mmap of %zu bytes with flags %#x", len, flags);
	return p;
}

static char *file(int fd, size_t len, int prot, int flags, off_t off)
{
	char *p = mmap(NULL, len, prot, flags, fd, off);

	CHECK(p != MAP_FAILED, "mmap of a file");
	return p;
}

int main(void)
{
	static const int advice[] = { MADV_RANDOM,     MADV_SEQUENTIAL, MADV_DONTFORK,  MADV_HUGEPAGE,
				      MADV_NOHUGEPAGE, MADV_DONTDUMP,   MADV_WIPEONFORK };
	enum { ADVICE = sizeof(advice) / sizeof(advice[0]) };
	char *advised[ADVICE], *shared, *private, *shared_ro, *through_ro, *none, *ro, *locked, *guarded, *grows,
		*named, *zero, *odd;
	char *noreserve, *big, *on_fault_locked, *none_locked, buf[PAGE];
	struct sigaction sa = { .sa_handler = on_fault };
	int rw = open("data", O_RDWR | O_CREAT, 0644), rd, guards;
	struct stat st;

	sigaction(SIGSEGV, &sa, NULL);
	memset(buf, 'f', PAGE);
	for (int i = 0; i < 4; i++)
		CHECK(pwrite(rw, buf, PAGE, i * PAGE) == PAGE, "write");
	CHECK(!ftruncate(rw, 3 * PAGE + 10), "truncate");
	rd = open("data", O_RDONLY);
	shared = file(rw, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	shared_ro = file(rw, PAGE, PROT_READ, MAP_SHARED, PAGE);
	through_ro = file(rd, PAGE, PROT_READ, MAP_SHARED, PAGE);
	private = file(rd, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, PAGE);
	private[PAGE] = 'P';
	CHECK(!mprotect(private, 3 * PAGE, PROT_READ | PROT_EXEC), "mprotect");
	close(rw);
	close(rd);
	shared[0] = 'S';

	for (int i = 0; i < ADVICE; i++) {
		advised[i] = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0) + PAGE;
		CHECK(!munmap(advised[i] - PAGE, PAGE) && !munmap(advised[i] + 2 * PAGE, PAGE), "munmap");
		CHECK(!madvise(advised[i], 2 * PAGE, advice[i]), "madvise %d", advice[i]);
		advised[i][PAGE] = (char)i;
	}
	none = anon(MIB, PROT_NONE, 0);
	ro = anon(PAGE, PROT_READ | PROT_WRITE, 0);
	ro[1] = 'r';
	CHECK(!mprotect(ro, PAGE, PROT_READ), "mprotect");
	locked = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	CHECK(!mlock(locked + PAGE, PAGE), "mlock");
	on_fault_locked = anon(4 * PAGE, PROT_READ | PROT_WRITE, 0);
	on_fault_locked[2 * PAGE] = 'l';
	CHECK(!mlock2(on_fault_locked, 4 * PAGE, MLOCK_ONFAULT), "mlock2");
	none_locked = anon(PAGE, PROT_NONE, 0);
	CHECK(mlock(none_locked, PAGE) < 0 && errno == ENOMEM, "mlock without access");
	noreserve = anon(256 * MIB, PROT_READ | PROT_WRITE, MAP_NORESERVE);
	noreserve[128 * MIB] = 'n';
	grows = mmap((void *)0x10000000000, 4 * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(grows != MAP_FAILED, "mmap");
	grows[0] = 'g';
	/* large enough to be looked for pages in a way of its own */
	guarded = anon(17 * MIB, PROT_READ | PROT_WRITE, 0);
	memset(guarded, 'G', 17 * MIB);
	guards = !madvise(guarded + 2 * PAGE, 3 * PAGE, MADV_GUARD_INSTALL);
	named = anon(2 * PAGE, PROT_READ | PROT_WRITE, 0);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, named, 2 * PAGE, "a name of it");
	named[0] = 'a';
	rd = open("/dev/zero", O_RDWR);
	zero = file(rd, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	close(rd);
	zero[PAGE] = 'z';
	big = anon(24 * MIB, PROT_READ | PROT_WRITE, 0);
	for (int i = 0; i < 24 * MIB; i += PAGE)
		big[i] = (char)(i >> 12);
	/* a file that is shorter than its mapping */
	odd = file(rd = open("short", O_RDWR | O_CREAT, 0600), 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	CHECK(!ftruncate(rd, 1), "truncate");
	close(rd);
	odd[0] = 'o';

	subject_ready();

	CHECK(shared[0] == 'S' && shared[PAGE] == 'f' && shared[3 * PAGE + 9] == 'f', "the shared mapping");
	shared[PAGE + 5] = 'T';
	CHECK(shared_ro[5] == 'T' && through_ro[5] == 'T' && private[5] == 'T', "other mappings of the same file");
	CHECK(private[PAGE] == 'P' && shared[2 * PAGE] == 'f', "the private page");
	CHECK(!mprotect(shared_ro, PAGE, PROT_READ | PROT_WRITE), "was opened for writing");
	CHECK(mprotect(through_ro, PAGE, PROT_READ | PROT_WRITE) < 0 && errno == EACCES, "was not opened for writing");
	for (int i = 0; i < ADVICE; i++)
		CHECK(advised[i][PAGE] == (char)i && advised[i][0] == 0, "advised %d", advice[i]);
	CHECK(!readable(none) && !mprotect(none, MIB, PROT_READ) && none[0] == 0, "PROT_NONE");
	CHECK(ro[1] == 'r' && readable(ro), "read-only memory");
	CHECK(on_fault_locked[2 * PAGE] == 'l' && !readable(none_locked), "locked in other ways");
	CHECK(locked[PAGE] == 0 && noreserve[128 * MIB] == 'n' && noreserve[0] == 0, "contents");
	CHECK(grows[0] == 'g' && readable(grows - 1), "the stack does not grow");
	for (int i = 0; i < 8 && guards; i++)
		CHECK(readable(guarded + i * PAGE) == (i < 2 || i > 4), "guard page %d", i);
	CHECK(guarded[PAGE] == 'G' && guarded[5 * PAGE] == 'G' && guarded[17 * MIB - 1] == 'G', "beside the guards");
	CHECK(named[0] == 'a' && zero[PAGE] == 'z' && zero[0] == 0 && odd[0] == 'o', "contents");
	for (int i = 0; i < 24 * MIB; i += PAGE)
		CHECK(big[i] == (char)(i >> 12) && big[i + 1] == 0, "24 MiB at %#x", i);
	CHECK(!stat("short", &st) && st.st_size == 1, "the short file");
	return 0;
}
