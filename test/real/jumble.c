/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program with mappings of every kind that a program can have, made at random (argv[1] is the seed), in a tree that
 * shares some of its memory. What each page must hold follows from a number, 0 being zeros.
 *
 * On SIGUSR1 each process does what the file PID.do says ("change", "check") and puts its answer into PID.done. Pages
 * are looked at through /proc/self/mem, which reads what the process itself may not (PROT_NONE), and not guard pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

enum { PAGE = 4096, WORDS = PAGE / 8, PIECES = 60, MOST = 1100, GUARD = 1, GONE = 2 };

struct piece {
	uint8_t *at;
	size_t pages;
	bool shared, droppable, is_short, child_lacks, child_zero;
	uint64_t number[MOST];
	uint8_t state[MOST];
};

static struct piece *pieces;
static size_t npieces;
static uint64_t seed;
static int mem_fd = -1;

static uint64_t any(uint64_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint64_t)(((__uint128_t)(seed >> 16 << 16) * below) >> 64);
}

static bool chance(unsigned percent)
{
	return any(100) < percent;
}

static uint64_t word(uint64_t number, size_t i)
{
	return number ? (number + i) * 0x9e3779b97f4a7c15u : 0;
}

static _Noreturn void die(const char *what)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%d.done", getpid());
	f = fopen(path, "w");
	if (f) {
		fprintf(f, "%s: %s", what, strerror(errno));
		fclose(f);
	}
	_exit(3);
}

/* Through /proc/self/mem: the page may be read-only. */
static void put(struct piece *p, size_t k, uint64_t number)
{
	uint64_t w[WORDS];

	for (size_t i = 0; i < WORDS; i++)
		w[i] = word(number, i);
	if (pwrite(mem_fd, w, PAGE, (off_t)(uintptr_t)(p->at + k * PAGE)) != PAGE)
		return; /* shared and not writable, or past the end of a file: it stays what it was */
	p->number[k] = number;
}

/* Only while it is needed: nobody can restore such a descriptor. */
static void mem_open(void)
{
	mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (mem_fd < 0)
		_exit(6);
}

static void mem_close(void)
{
	close(mem_fd);
}

/* --- making ------------------------------------------------------------------------------------------------------ */

static int file_of(size_t len, bool gone)
{
	static int n;
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "file%d", n++);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)len))
		die(path);
	if (gone)
		unlink(path);
	return fd;
}

static int memfd_of(size_t len)
{
	int fd = memfd_create("jumble", 0);

	if (fd < 0 || ftruncate(fd, (off_t)len))
		die("memfd");
	return fd;
}

static void *place(size_t len)
{
	static uintptr_t low = 0x100000, high = 0x7fff00000000;

	if (chance(15)) {
		high -= len + PAGE * any(3);
		return (void *)(high & ~(uintptr_t)(PAGE - 1));
	}
	if (chance(10)) {
		low += len + PAGE * any(3);
		return (void *)(low - len);
	}
	return NULL;
}

static void make(struct piece *p)
{
	size_t len = p->pages * PAGE;
	int flags = 0, fd = -1, prot = PROT_READ | PROT_WRITE;
	void *at = place(len);

	switch (any(12)) {
	case 0 ... 4:
		flags = MAP_PRIVATE | MAP_ANONYMOUS | (chance(20) ? MAP_NORESERVE : 0);
		break;
	case 5:
		flags = MAP_SHARED | MAP_ANONYMOUS;
		break;
	case 6:
		flags = chance(50) ? MAP_SHARED : MAP_PRIVATE;
		fd = memfd_of(len);
		break;
	case 7:
		flags = chance(50) ? MAP_SHARED : MAP_PRIVATE;
		p->is_short = chance(30);
		fd = file_of(p->is_short ? p->pages / 2 * PAGE : len, p->pages < 200 && chance(40));
		break;
	case 8:
		flags = chance(50) ? MAP_SHARED : MAP_PRIVATE;
		fd = open("/dev/zero", O_RDWR);
		break;
	case 9:
		flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN;
		at = NULL;
		break;
	case 10:
		flags = MAP_DROPPABLE | MAP_ANONYMOUS;
		p->droppable = true;
		break;
	case 11:
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
		prot = PROT_NONE;
	}
	p->shared = flags & MAP_SHARED && !p->droppable;
	if (at)
		flags |= MAP_FIXED_NOREPLACE;
	p->at = mmap(at, len, prot, flags, fd, 0);
	if (p->at == MAP_FAILED && (at || p->droppable)) {
		p->droppable = false;
		p->at = mmap(NULL, len, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		p->shared = false;
	}
	if (p->at == MAP_FAILED)
		die("mmap");
	if (fd >= 0 && chance(80))
		close(fd);
}

static void fill(struct piece *p)
{
	unsigned density = (unsigned[]){ 0, 3, 50, 90, 100 }[any(5)];

	for (size_t k = 0; k < p->pages; k++)
		if (chance(density))
			put(p, k, chance(10) ? 0 : any(UINT64_MAX - 1) + 1);
}

/* --- twisting ---------------------------------------------------------------------------------------------------- */

static void twist_advice(struct piece *p, uint8_t *at, size_t len)
{
	static const int advice[] = { MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_RANDOM, MADV_SEQUENTIAL,
				      MADV_MERGEABLE, 25 /* COLLAPSE */, 21 /* PAGEOUT */, 20 /* COLD */, MADV_DODUMP };

	(void)p;
	madvise(at, len, advice[any(sizeof(advice) / sizeof(advice[0]))]);
}

static bool is_there(const struct piece *p, size_t k, uint64_t *ret_first)
{
	return pread(mem_fd, ret_first, sizeof(*ret_first), (off_t)(uintptr_t)(p->at + k * PAGE)) == sizeof(*ret_first);
}

/* It may stop half-way: then whatever is there is right. */
static void twist_guard(struct piece *p, uint8_t *at, size_t len)
{
	size_t from = (size_t)(at - p->at) / PAGE;
	uint64_t first;

	if (p->droppable || p->is_short)
		return;
	madvise(at, len, MADV_GUARD_INSTALL);
	for (size_t k = from; k < from + len / PAGE; k++)
		if (p->state[k] != GONE && !is_there(p, k, &first))
			p->state[k] = GUARD;
}

static void twist_drop(struct piece *p, uint8_t *at, size_t len)
{
	size_t from = (size_t)(at - p->at) / PAGE;
	uint64_t first;

	if (p->shared)
		return;
	madvise(at, len, MADV_DONTNEED);
	for (size_t k = from; k < from + len / PAGE; k++)
		if (!p->state[k] && is_there(p, k, &first) && !first)
			p->number[k] = 0;
}

static void twist_lock(struct piece *p, uint8_t *at, size_t len)
{
	(void)p;
	if (chance(50))
		mlock2(at, len, MLOCK_ONFAULT);
	else
		mlock(at, len);
}

static void twist_protect(struct piece *p, uint8_t *at, size_t len)
{
	(void)p;
	mprotect(at, len, (int)any(8));
}

static void twist_unmap(struct piece *p, uint8_t *at, size_t len)
{
	size_t from = (size_t)(at - p->at) / PAGE;

	munmap(at, len);
	for (size_t k = from; k < from + len / PAGE; k++)
		p->state[k] = GONE;
}

static void twist_name(struct piece *p, uint8_t *at, size_t len)
{
	(void)p;
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, len, "a name");
}

/* How many pages from k on are still there: where one is gone another mapping may be by now. */
static size_t room(const struct piece *p, size_t k)
{
	size_t n = 0;

	while (k + n < p->pages && p->state[k + n] != GONE)
		n++;
	return n;
}

static void twist_fork(struct piece *p, uint8_t *at, size_t len)
{
	(void)at, (void)len;
	if (room(p, 0) < p->pages)
		return;
	if (chance(50) && !madvise(p->at, p->pages * PAGE, MADV_DONTFORK))
		p->child_lacks = true;
	else if (!p->shared && !madvise(p->at, p->pages * PAGE, MADV_WIPEONFORK))
		p->child_zero = true;
}

static void twist(struct piece *p)
{
	static void (*const how[])(struct piece *p, uint8_t *at, size_t len) = {
		twist_advice, twist_advice, twist_guard, twist_drop,    twist_lock,
		twist_protect, twist_protect, twist_unmap, twist_name,  twist_fork,
	};

	for (uint64_t n = any(5); n > 0; n--) {
		size_t from = chance(40) ? 0 : any(p->pages), most = room(p, from);
		size_t len = !most || chance(40) ? most : 1 + any(most);

		if (len)
			how[any(sizeof(how) / sizeof(how[0]))](p, p->at + from * PAGE, len * PAGE);
	}
}

static void make_all(void)
{
	pieces = mmap(NULL, PIECES * sizeof(*pieces), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	npieces = 5 + any(PIECES - 5);
	for (size_t i = 0; i < npieces; i++) {
		struct piece *p = &pieces[i];

		p->pages = chance(15) ? 513 + any(MOST - 513) : 1 + any(chance(50) ? 8 : 100);
		make(p);
		fill(p);
		twist(p);
	}
}

/* --- what each process does -------------------------------------------------------------------------------------- */

static void change(void)
{
	for (size_t n = any(200); n > 0; n--) {
		struct piece *p = &pieces[any(npieces)];
		size_t k = any(p->pages);

		if (!p->shared && !p->state[k])
			put(p, k, chance(10) ? 0 : any(UINT64_MAX - 1) + 1);
	}
}

static void be_child(void)
{
	for (size_t i = 0; i < npieces; i++)
		for (size_t k = 0; k < pieces[i].pages; k++) {
			if (pieces[i].child_lacks)
				pieces[i].state[k] = GONE;
			if (pieces[i].child_zero) {
				pieces[i].number[k] = 0;
				pieces[i].state[k] &= GONE;
			}
		}
	change();
	for (int i = 0; i < 3; i++) {
		struct piece *p = &pieces[any(npieces)];

		if (!p->child_lacks && chance(50))
			twist(p);
	}
}

static bool page_is(const struct piece *p, size_t k, char *why, size_t len)
{
	uint64_t w[WORDS];
	ssize_t n = pread(mem_fd, w, PAGE, (off_t)(uintptr_t)(p->at + k * PAGE));
	const char *what = NULL;

	if (p->state[k])
		what = n > 0 && p->state[k] == GUARD ? "is no guard any more" : NULL;
	else if (n != PAGE) /* past the end of a file nothing was written */
		what = p->number[k] ? "cannot be read" : NULL;
	else
		for (size_t i = 0; i < WORDS && !what; i++)
			if (w[i] != word(p->number[k], i) && !(p->droppable && !w[i]))
				what = "is wrong";
	if (what)
		snprintf(why, len, "page %zu of %p (piece %zu of %zu pages) %s", k, (void *)p->at,
			 (size_t)(p - pieces), p->pages, what);
	return !what;
}

static void check(char *text, size_t len)
{
	uint64_t digest = 14695981039346656037u;

	for (size_t i = 0; i < npieces; i++)
		for (size_t k = 0; k < pieces[i].pages; k++) {
			digest = (digest ^ pieces[i].number[k]) * 1099511628211u;
			if (!page_is(&pieces[i], k, text, len))
				return;
		}
	snprintf(text, len, "right %lx", digest);
}

static void answer(const char *text)
{
	char path[64], new_path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%d.done", getpid());
	snprintf(new_path, sizeof(new_path), "%d.new", getpid());
	f = fopen(new_path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) || rename(new_path, path))
		_exit(4);
}

static void obey(void)
{
	char path[64], text[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "%d.do", getpid());
	f = fopen(path, "r");
	if (!f || !fgets(text, sizeof(text), f))
		_exit(5);
	fclose(f);
	mem_open();
	if (!strncmp(text, "change", 6))
		change();
	check(text, sizeof(text));
	mem_close();
	answer(text);
}

int main(int argc, char **argv)
{
	sigset_t s;
	int sig;

	seed = argc > 1 ? strtoull(argv[1], NULL, 0) * 977 + 13 : 1;
	mem_open();
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, NULL);
	make_all();
	for (uint64_t n = any(4); n > 0; n--)
		if (!fork()) {
			mem_close();
			mem_open();
			seed += n;
			be_child();
			n = 1 + any(2) * chance(30);
		}
	change();
	mem_close();
	answer("ready");
	while (!sigwait(&s, &sig))
		obey();
	return 0;
}
