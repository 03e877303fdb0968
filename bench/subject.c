/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs that the benchmark dumps and restores. Each fills memory with a pattern in which every word depends on
 * its place and on whose it is, says "ready", and sleeps. Told by SIGUSR1 it looks at every word again and says what it
 * found: a page that came back empty, old, or in another page's place is seen, whoever restored it.
 *
 *   subject REPORT mem BYTES ZERO HUGE      one mapping; ZERO per cent of it hold zeros; HUGE 1: MADV_HUGEPAGE
 *   subject REPORT small BYTES              many mappings of 4 to 124 KiB, with a gap behind each
 *   subject REPORT tree N BYTES             a parent of N - 1 children; BYTES filled before the forks, and each child
 *                                           writes over every 64th page or so
 *   subject REPORT threads N                N threads; told, each looks at its own stack and thread-local data
 *   subject REPORT herd N SMALL BIG         a process of BIG bytes with N children of SMALL bytes
 *
 * What a process says goes to the file REPORT.PID, which it opens for that moment only: "ready", "OK WORDS" or
 * "BAD ...". Made by rename, so that nobody reads half a sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PAGE = 4096, PAGE_WORDS = PAGE / 8, HANDS = 32, HAND_STACK = 65536, MAPPINGS = 30000, ZERO_RUN = 16 };

/* A piece of memory and what must be in it. */
struct area {
	uint64_t *at;
	size_t words;
	uint64_t first; /* the number of its first word in the whole */
};

static struct area areas[MAPPINGS];
static size_t nareas;
static unsigned zero_percent;
static uint64_t own;      /* a copying child's number; 0: nothing was written over */
static uint64_t herd;     /* whose memory it is */
static const char *report;
static volatile sig_atomic_t told;

/* The first word that is wrong, by whoever finds it. */
static atomic_flag wrong_taken;
static volatile bool wrong;
static char wrong_text[160];

static void die(const char *what)
{
	fprintf(stderr, "subject: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 31;
	x *= UINT64_C(0x9E3779B97F4A7C15);
	x ^= x >> 29;
	return x;
}

/* Whose pattern stands in a page: everybody's, or this child's. */
static uint64_t owner(uint64_t page)
{
	return own && mix(page ^ own << 40) % 64 == 0 ? own : 0;
}

static uint64_t word(uint64_t i)
{
	uint64_t page = i / PAGE_WORDS;

	if (zero_percent && mix(page / ZERO_RUN + 7) % 100 < zero_percent)
		return 0;
	return mix(i + (herd << 44) + (owner(page) << 52)) | 1;
}

/* --- filling and looking, by several threads --------------------------------------------------------------------- */

static _Alignas(4096) char stacks[HANDS][HAND_STACK]; /* ours: libc would keep its own mapped for the next thread */
static unsigned nhands;
static bool looking;

static void look(const uint64_t *p, uint64_t is, uint64_t should)
{
	if (atomic_flag_test_and_set(&wrong_taken))
		return;
	snprintf(wrong_text, sizeof(wrong_text), "BAD the word at %p is %016lx and should be %016lx", (const void *)p,
		 (unsigned long)is, (unsigned long)should);
	wrong = true;
}

static void page_do(const struct area *a, size_t from)
{
	size_t end = from + PAGE_WORDS < a->words ? from + PAGE_WORDS : a->words;

	for (size_t i = from; i < end; i++) {
		uint64_t v = word(a->first + i), is = looking ? a->at[i] : v;

		if (!looking)
			a->at[i] = v;
		else if (is != v)
			look(&a->at[i], is, v);
	}
}

/* Hand k takes the pages whose number is k, modulo the hands, in steps of 2 MiB. */
static void *hand(void *arg)
{
	const size_t step = 512 * PAGE_WORDS;
	size_t k = (size_t)arg;

	for (size_t n = 0; n < nareas; n++)
		for (size_t i = 0; i < areas[n].words; i += PAGE_WORDS)
			if ((i / step + n) % nhands == k)
				page_do(&areas[n], i);
	return NULL;
}

static size_t words_all(void)
{
	size_t sum = 0;

	for (size_t i = 0; i < nareas; i++)
		sum += areas[i].words;
	return sum;
}

static unsigned hands_wanted(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);

	return words_all() < 32 << 20 || n < 1 ? 1 : n > HANDS ? HANDS : (unsigned)n;
}

static void areas_do(bool look_only)
{
	pthread_t t[HANDS];
	pthread_attr_t attr;

	looking = look_only;
	nhands = hands_wanted();
	pthread_attr_init(&attr);
	for (size_t i = 1; i < nhands; i++) {
		pthread_attr_setstack(&attr, stacks[i], HAND_STACK);
		errno = pthread_create(&t[i], &attr, hand, (void *)i);
		if (errno)
			die("thread");
	}
	hand(NULL);
	for (size_t i = 1; i < nhands; i++)
		pthread_join(t[i], NULL);
	pthread_attr_destroy(&attr);
}

static void area_add(void *at, size_t len)
{
	if (at == MAP_FAILED)
		die("mmap");
	areas[nareas] = (struct area){ at, len / 8, nareas ? areas[nareas - 1].first + areas[nareas - 1].words : 0 };
	nareas++;
}

static void *anonymous(void *at, size_t len, int flags)
{
	return mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER, answered = PTHREAD_COND_INITIALIZER;
static unsigned question, answers, nthreads; /* under lock */
static _Thread_local uint64_t local;

static void *idle(void *arg)
{
	uint64_t me = (uint64_t)arg;
	volatile uint64_t on_stack[64];
	unsigned seen = 0;

	local = mix(me);
	for (unsigned i = 0; i < 64; i++)
		on_stack[i] = mix(me + i);
	pthread_mutex_lock(&lock);
	for (;;) {
		answers++;
		pthread_cond_signal(&answered);
		while (question == seen)
			pthread_cond_wait(&asked, &lock);
		seen = question;
		if (local != mix(me))
			look(&local, local, mix(me));
		for (unsigned i = 0; i < 64; i++)
			if (on_stack[i] != mix(me + i))
				look((const uint64_t *)&on_stack[i], on_stack[i], mix(me + i));
	}
	return NULL;
}

static void threads_answer(void)
{
	pthread_mutex_lock(&lock);
	while (answers < nthreads)
		pthread_cond_wait(&answered, &lock);
	pthread_mutex_unlock(&lock);
}

static void threads_ask(void)
{
	pthread_mutex_lock(&lock);
	answers = 0;
	question++;
	pthread_cond_broadcast(&asked);
	pthread_mutex_unlock(&lock);
	threads_answer();
}

static void threads_make(unsigned n)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	for (nthreads = 0; nthreads + 1 < n; nthreads++) {
		errno = pthread_create(&t, &attr, idle, (void *)(uintptr_t)(nthreads + 1));
		if (errno)
			die("thread");
	}
	threads_answer();
}

/* --- the conversation -------------------------------------------------------------------------------------------- */

static void say(const char *text)
{
	char path[512], part[520];
	int fd;

	snprintf(path, sizeof(path), "%s.%d", report, (int)getpid());
	snprintf(part, sizeof(part), "%s.part", path);
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		_exit(2);
	close(fd);
	if (rename(part, path))
		_exit(2);
}

static void on_told(int sig)
{
	(void)sig;
	told = 1;
}

_Noreturn static void stand_by(void)
{
	char text[64];
	sigset_t open;

	sigemptyset(&open);
	say("ready");
	for (;;) {
		while (!told)
			sigsuspend(&open);
		told = 0;
		wrong = false;
		atomic_flag_clear(&wrong_taken);
		areas_do(true);
		threads_ask();
		snprintf(text, sizeof(text), "OK %zu", words_all() + 65 * (size_t)nthreads);
		say(wrong ? wrong_text : text);
	}
}

/* --- the scenes -------------------------------------------------------------------------------------------------- */

static void mem(size_t len, unsigned zero, bool huge)
{
	char *p = anonymous(NULL, len, 0);

	zero_percent = zero;
	area_add(p, len);
	if (huge && madvise(p, len, MADV_HUGEPAGE))
		die("huge pages");
}

/* Their places are chosen here: the kernel would join neighbours into one mapping. */
static void small(size_t len)
{
	size_t all = 2 * len + ((size_t)1 << 30), n;
	char *p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || munmap(p, all))
		die("mmap");
	for (size_t done = 0; done < len && nareas < MAPPINGS; done += n, p += n + PAGE) {
		n = (1 + mix(nareas + 1) % 31) * PAGE;
		area_add(anonymous(p, n, MAP_FIXED_NOREPLACE), n);
	}
}

static void tree(uint64_t n, size_t len)
{
	if (len) {
		area_add(anonymous(NULL, len, 0), len);
		areas_do(false);
	}
	for (uint64_t i = 1; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid) {
			own = i;
			break;
		}
	}
	for (size_t at = 0; own && len && at < areas[0].words; at += PAGE_WORDS)
		if (owner(at / PAGE_WORDS))
			page_do(&areas[0], at);
	stand_by();
}

static void herd_of(uint64_t n, size_t small_len, size_t big_len)
{
	for (uint64_t i = 1; i <= n && !herd; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid)
			herd = i;
	}
	mem(herd ? small_len : big_len, 0, false);
}

static size_t number(const char *s)
{
	char *end;
	size_t n = s ? strtoul(s, &end, 0) : 0;

	if (!s || *end) {
		fprintf(stderr, "subject: see the head of bench/subject.c\n");
		exit(1);
	}
	return n;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = on_told };
	const char *what = argc > 3 ? argv[2] : "";
	sigset_t usr1;

	report = argv[1];
	sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL); /* threads never take it; the main one opens it while it sleeps */
	if (!strcmp(what, "mem") && argc == 6)
		mem(number(argv[3]), (unsigned)number(argv[4]), number(argv[5]));
	else if (!strcmp(what, "small"))
		small(number(argv[3]));
	else if (!strcmp(what, "tree") && argc == 5)
		tree(number(argv[3]), number(argv[4]));
	else if (!strcmp(what, "threads"))
		threads_make((unsigned)number(argv[3]));
	else if (!strcmp(what, "herd") && argc == 6)
		herd_of(number(argv[3]), number(argv[4]), number(argv[5]));
	else
		number(NULL);
	areas_do(false);
	stand_by();
}
