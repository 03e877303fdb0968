/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each thread has of its own: data, name, fs and gs bases, robust list, exit word, rseq area, scheduling. They are
 * so many that threads make threads when they come back; a timer names the last of them.
 */
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>

#include "subject.h"

enum { THREADS = 150 };

struct own {
	unsigned long fs, gs;
	void *robust, *clear_tid;
	size_t robust_len;
	int tid, nice, policy, priority, slack;
	char name[16];
};

static pthread_barrier_t before, after;
static pthread_mutex_t robust;
static __thread int local = -1;
static char gs_room[64];
static volatile int last, rang; /* thread IDs */

static struct own own(void)
{
	struct own o;
	struct sched_param p;

	memset(&o, 0, sizeof(o));
	syscall(SYS_arch_prctl, ARCH_GET_FS, &o.fs);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &o.gs);
	syscall(SYS_get_robust_list, 0, &o.robust, &o.robust_len);
	prctl(PR_GET_TID_ADDRESS, &o.clear_tid);
	o.tid = gettid();
	o.nice = getpriority(PRIO_PROCESS, (id_t)o.tid);
	o.policy = sched_getscheduler(0);
	sched_getparam(0, &p);
	o.priority = p.sched_priority;
	o.slack = prctl(PR_GET_TIMERSLACK);
	prctl(PR_GET_NAME, o.name);
	return o;
}

static void go_own_way(int i)
{
	struct sched_param p = { 0 }, fifo = { .sched_priority = 3 };
	char name[16];

	snprintf(name, sizeof(name), "th-%d \xff)", i);
	local = i * 1000;
	if (i)
		prctl(PR_SET_NAME, name);
	if (i == 1)
		syscall(SYS_arch_prctl, ARCH_SET_GS, gs_room);
	if (i == 2)
		CHECK(!setpriority(PRIO_PROCESS, (id_t)gettid(), 7), "niceness");
	if (i == 3)
		CHECK(!sched_setscheduler(0, SCHED_BATCH, &p), "batch");
	if (i == 4)
		CHECK(!sched_setscheduler(0, SCHED_IDLE | SCHED_RESET_ON_FORK, &p), "idle");
	if (i == 5)
		(void)!sched_setscheduler(0, SCHED_RR, &fifo); /* where it is allowed */
	if (i == 6)
		CHECK(!setpriority(PRIO_PROCESS, (id_t)gettid(), -5), "niceness");
	if (i == 8)
		CHECK(!prctl(PR_SET_TIMERSLACK, 4711), "timer slack");
	if (i == 7)
		CHECK(!pthread_mutex_lock(&robust), "lock");
}

/* The kernel keeps the area up to date only if it is registered. */
static void check_rseq(void)
{
	const volatile struct rseq *r = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);

	if (!__rseq_size)
		return;
	sched_yield();
	CHECK((int)r->cpu_id >= 0 && r->cpu_id < CPU_SETSIZE, "rseq: CPU %d", (int)r->cpu_id);
	CHECK(syscall(SYS_rseq, r, 32, 0, RSEQ_SIG) < 0 && errno == EBUSY, "the rseq area is not registered");
}

static void *thread(void *arg)
{
	int i = (int)(size_t)arg;
	struct own was, is;

	go_own_way(i);
	was = own();
	if (i == THREADS - 1)
		last = was.tid;
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	is = own();
	CHECK(!memcmp(&was, &is, sizeof(is)), "thread %d (%s, %s)", i, was.name, is.name);
	CHECK(local == i * 1000, "its own variable: %d", local);
	CHECK(is.fs == (unsigned long)pthread_self(), "its fs base");
	check_rseq();
	if (i == 1) {
		unsigned long there;

		gs_room[8] = 42;
		__asm__("mov %%gs:8, %0" : "=r"(there));
		CHECK((char)there == 42, "its gs base");
	}
	return NULL; /* number 7 dies with the mutex */
}

static void on_timer(int sig)
{
	(void)sig;
	rang = gettid();
}

static timer_t timer_for_last(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
	timer_t id;

	ev._sigev_un._tid = last;
	signal(SIGUSR1, on_timer);
	CHECK(!timer_create(CLOCK_MONOTONIC, &ev, &id), "create a timer");
	return id;
}

static void check_timer(timer_t id)
{
	const struct itimerspec soon = { .it_value.tv_nsec = 1000 };

	CHECK(!timer_settime(id, 0, &soon, NULL), "start the timer");
	for (int tries = 0; !rang && tries < 10000; tries++)
		usleep(1000);
	CHECK(rang == last, "the timer of thread %d rang in %d", last, rang);
}

int main(void)
{
	timer_t timer;
	pthread_t th[THREADS];
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attr);
	pthread_barrier_init(&before, NULL, THREADS + 1);
	pthread_barrier_init(&after, NULL, THREADS + 1);
	prctl(PR_SET_NAME, "the leader");
	for (size_t i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&th[i], NULL, thread, (void *)i), "create a thread");
	pthread_barrier_wait(&before);
	timer = timer_for_last();

	subject_ready();

	check_timer(timer);
	pthread_barrier_wait(&after);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(th[i], NULL), "join"); /* the kernel clears the exit word */
	CHECK(pthread_mutex_lock(&robust) == EOWNERDEAD, "the robust list of thread 7");
	check_rseq();
	return 0;
}
