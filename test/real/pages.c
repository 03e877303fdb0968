/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that changes its memory in every way that a tracker of written pages might miss, and knows what each page
 * must hold. On SIGUSR1 it does what the file NAME.do says and puts its answer into NAME.done.
 *
 * A page's contents follow from one number, 0 being zeros. The numbers lie in memory that is tracked as well, so the
 * answer of "check" has their digest: it must be the one from before the dump.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, AREAS = 7, MOST = 8192 };

struct area {
	uint64_t *at;
	size_t pages;
	uint64_t number[MOST];
};

static struct area *areas; /* their descriptions live in memory like all the rest */
static uint64_t seed = 1;
static char name[64] = "main";
static char *program;

static uint64_t any(uint64_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint64_t)(((__uint128_t)(seed >> 16 << 16) * below) >> 64);
}

static uint64_t word(uint64_t number, size_t i)
{
	return number ? (number + i) * 0x9e3779b97f4a7c15u : 0;
}

static void put(uint64_t *page, uint64_t number)
{
	for (size_t i = 0; i < WORDS; i++)
		page[i] = word(number, i);
}

static uint64_t *page_at(struct area *a, size_t p)
{
	return a->at + p * WORDS;
}

static void set(struct area *a, size_t p, uint64_t number)
{
	a->number[p] = number;
	put(page_at(a, p), number);
}

static uint64_t new_number(void)
{
	return any(UINT64_MAX - 1) + 1;
}

/* Every zeros-th page or so is one of zeros; 0: none is. */
static void fill(struct area *a, uint64_t zeros)
{
	for (size_t p = 0; p < a->pages; p++)
		set(a, p, !zeros || any(zeros) ? new_number() : 0);
}

static void make(struct area *a, size_t pages, uint64_t zeros, int flags, int advice)
{
	a->pages = pages;
	a->at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
	if (a->at == MAP_FAILED)
		_exit(3);
	if (advice)
		madvise(a->at, pages * PAGE, advice);
	fill(a, zeros);
}

static void make_all(void)
{
	areas = mmap(NULL, AREAS * sizeof(*areas), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	make(&areas[0], 3000, 5, MAP_PRIVATE, 0);
	make(&areas[1], 4096, 5, MAP_PRIVATE, MADV_HUGEPAGE);
	make(&areas[2], 500, 5, MAP_SHARED, 0);
	areas[3].pages = 300; /* the heap, which grows */
	areas[3].at = sbrk(0);
	areas[3].at = (uint64_t *)(((uintptr_t)areas[3].at + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
	if (brk((char *)areas[3].at + areas[3].pages * PAGE))
		_exit(4);
	fill(&areas[3], 5);
	make(&areas[4], 600, 5, MAP_PRIVATE, 0);
	make(&areas[5], 600, 5, MAP_PRIVATE, 0);
	make(&areas[6], 6500, 0, MAP_PRIVATE, 0); /* whole 2 MiB ranges, for huge pages */
}

/* --- what is done to memory --- */

static void do_change(void)
{
	for (int i = 0; i < 200; i++) {
		struct area *a = &areas[any(AREAS)];

		set(a, any(a->pages), new_number());
	}
}

/* Pages get nearly the contents that they had. */
static void do_byte(void)
{
	for (int i = 0; i < 50; i++) {
		struct area *a = &areas[any(AREAS)];
		size_t p = any(a->pages);
		uint64_t n = a->number[p] ^ 0xff00000000000000u;

		if (!a->number[p])
			continue;
		for (size_t k = 0; k < WORDS; k++)
			page_at(a, p)[k] = word(n, k);
		a->number[p] = n;
	}
}

static void do_zero(void)
{
	for (int i = 0; i < 100; i++) {
		struct area *a = &areas[any(AREAS)];

		set(a, any(a->pages), 0);
	}
}

static void do_drop(void)
{
	for (int i = 0; i < 60; i++) {
		struct area *a = &areas[i % 2 ? 0 : 4];
		size_t p = any(a->pages - 8), n = 1 + any(8);

		madvise(page_at(a, p), n * PAGE, MADV_DONTNEED);
		for (size_t k = 0; k < n; k++)
			a->number[p + k] = 0;
		if (any(2))
			set(a, p, new_number());
		else if (any(2) && *(volatile uint64_t *)page_at(a, p))
			_exit(5);
	}
}

/* The kernel writes: pages go through a pipe. */
static void do_kernel(void)
{
	int fd[2];

	if (pipe(fd))
		_exit(6);
	for (int i = 0; i < 100; i++) {
		struct area *from = &areas[any(AREAS)], *to = &areas[any(AREAS)];
		size_t p = any(from->pages), q = any(to->pages);

		if (write(fd[1], page_at(from, p), PAGE) != PAGE || read(fd[0], page_at(to, q), PAGE) != PAGE)
			_exit(7);
		to->number[q] = from->number[p];
	}
	close(fd[0]);
	close(fd[1]);
}

static void do_move(void)
{
	struct area *a = &areas[4];
	void *hole = mmap(NULL, 2 * a->pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	a->at = mremap(a->at, a->pages * PAGE, a->pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole);
	if (a->at == MAP_FAILED)
		_exit(8);
}

/* Two areas change places: each is now where the other was, whose pages the older images have there. */
static void do_swap(void)
{
	struct area *a = &areas[4], *b = &areas[5];
	size_t n = b->pages;
	void *hole = mmap(NULL, n * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (size_t p = 0; p < n; p++) {
		uint64_t was = a->number[p];

		a->number[p] = b->number[p];
		b->number[p] = was;
	}
	if (mremap(a->at, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole) == MAP_FAILED ||
	    mremap(b->at, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a->at) == MAP_FAILED ||
	    mremap(hole, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b->at) == MAP_FAILED)
		_exit(9);
}

static void do_grow(void)
{
	struct area *heap = &areas[3];

	if (heap->pages + 200 > MOST || brk((char *)heap->at + (heap->pages + 200) * PAGE))
		_exit(10);
	for (size_t p = heap->pages; p < heap->pages + 200; p++)
		set(heap, p, new_number());
	heap->pages += 200;
}

/* A mapping goes, another comes to the same place. */
static void do_replace(void)
{
	struct area *a = &areas[0];
	size_t from = any(a->pages / 2), n = a->pages / 3;

	munmap(page_at(a, from), n * PAGE);
	if (mmap(page_at(a, from), n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		_exit(11);
	for (size_t p = from; p < from + n; p++)
		a->number[p] = 0;
	for (int i = 0; i < 30; i++)
		set(a, from + any(n), new_number());
}

/* Protection comes and goes; the tracking must not go with it. */
static void do_protect(void)
{
	do_change();
	mprotect(areas[0].at, 100 * PAGE, PROT_READ);
	mprotect(areas[0].at, 100 * PAGE, PROT_READ | PROT_WRITE);
}

static void do_fork(void)
{
	if (!fork()) {
		snprintf(name, sizeof(name), "child");
		seed += 17;
		munmap(areas[2].at, areas[2].pages * PAGE); /* the parent's business */
		make(&areas[2], areas[2].pages, 5, MAP_PRIVATE, 0);
		do_change();
	} else
		do_change();
}

static void do_exec(void)
{
	execl(program, program, name, "again", NULL);
	_exit(12);
}

static int check(char *answer, size_t len)
{
	uint64_t digest = 14695981039346656037u;

	for (int i = 0; i < AREAS; i++)
		for (size_t p = 0; p < areas[i].pages; p++) {
			digest = (digest ^ areas[i].number[p]) * 1099511628211u;
			for (size_t k = 0; k < WORDS; k++)
				if (page_at(&areas[i], p)[k] != word(areas[i].number[p], k))
					return snprintf(answer, len, "area %d page %zu (%p) word %zu is wrong", i, p,
							(void *)page_at(&areas[i], p), k);
		}
	return snprintf(answer, len, "right %lx", digest);
}

static const struct {
	const char *word;
	void (*act)(void);
} deeds[] = {
	{ "change", do_change }, { "byte", do_byte }, { "zero", do_zero }, { "drop", do_drop }, { "kernel", do_kernel },
	{ "move", do_move }, { "swap", do_swap }, { "grow", do_grow }, { "replace", do_replace },
	{ "protect", do_protect }, { "fork", do_fork }, { "exec", do_exec },
};

static void answer(const char *text)
{
	char path[80], new_path[80];
	FILE *f;

	snprintf(path, sizeof(path), "%s.done", name);
	snprintf(new_path, sizeof(new_path), "%s.new", name);
	f = fopen(new_path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) || rename(new_path, path))
		_exit(13);
}

static void obey(void)
{
	char path[80], text[128] = "", *w;
	FILE *f;

	snprintf(path, sizeof(path), "%s.do", name);
	f = fopen(path, "r");
	if (!f || !fgets(text, sizeof(text), f))
		_exit(14);
	fclose(f);
	for (w = strtok(text, " \n"); w; w = strtok(NULL, " \n"))
		for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++)
			if (!strcmp(w, deeds[i].word))
				deeds[i].act();
	check(text, sizeof(text));
	answer(text);
}

int main(int argc, char **argv)
{
	sigset_t s;
	int sig;

	program = argv[0];
	mallopt(M_MMAP_THRESHOLD, 0); /* the heap is ours alone */
	if (argc > 1)
		snprintf(name, sizeof(name), "%s", argv[1]);
	seed = argc > 2 ? 99 : 1;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, NULL);
	make_all();
	answer(argc > 2 ? "again" : "ready");
	while (!sigwait(&s, &sig))
		obey();
	return 0;
}
