/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate (gate.h): who is inside, and which stub stands for what.
 *
 * The order that makes it safe: a caller says that it is inside and then reads `gate_closed`; the closer sets it and
 * then looks who is inside. One of the two sees the other, if neither processor delays its store past its load; the
 * closer sees to that for both.
 */
#include "preload/gate.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "preload/gate_count.h"
#include "preload/gate_place.h"

enum { HASH = 2 * GATE_STUBS, STUB_LEN = 16 };
enum { OPEN, CLOSING, CLOSED };
/* LOOK_MS: so often it is asked whether a thread has ended inside: it tells nobody. */
enum { DRAIN_NS = 10000000, LOOK_MS = 10 };

/* Shared with gate_stubs.S. */
extern const char gate_stubs[];
__attribute__((visibility("hidden"))) void *gate_target[GATE_STUBS];
__attribute__((visibility("hidden"))) int gate_closed;
__attribute__((visibility("hidden"))) __thread struct gate_place *gate_mine;
__attribute__((visibility("hidden"))) void gate_wait(void);
__attribute__((visibility("hidden"))) void gate_left(void);

static int64_t until_ms; /* CLOSING: when it opens by itself */
static int left; /* counts up when somebody leaves a closed gate */

static struct {
	pthread_mutex_t lock;
	void *real[GATE_STUBS];
	uint16_t at[HASH]; /* stub number + 1, by a hash of the address */
	size_t n;
} stubs = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void futex_wait(int *at, int while_it_is, const struct timespec *most)
{
	int saved = errno;

	syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, while_it_is, most, NULL, 0);
	errno = saved;
}

static void futex_wake(int *at)
{
	int saved = errno;

	syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	errno = saved;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Waits for the gate in a state that was seen; a gate that has been closing for too long is opened. */
static void closed_wait(int state)
{
	int64_t rest = __atomic_load_n(&until_ms, __ATOMIC_SEQ_CST) - now_ms();
	struct timespec most = { rest / 1000, rest % 1000 * 1000000 };

	if (state == CLOSED)
		futex_wait(&gate_closed, state, NULL);
	else if (rest > 0)
		futex_wait(&gate_closed, state, &most);
	else if (__atomic_compare_exchange_n(&gate_closed, &state, OPEN, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		futex_wake(&gate_closed);
}

/* A thread that found the gate closed, or has no place yet; comes back inside, with the gate open. */
void gate_wait(void)
{
	if (!gate_mine)
		gate_mine = gate_place_take();
	for (;;) {
		int state;

		__atomic_store_n(&gate_mine->in, 1, __ATOMIC_SEQ_CST);
		state = __atomic_load_n(&gate_closed, __ATOMIC_SEQ_CST);
		if (state == OPEN)
			return;
		__atomic_store_n(&gate_mine->in, 0, __ATOMIC_SEQ_CST);
		gate_left();
		closed_wait(state);
	}
}

void gate_left(void)
{
	__atomic_fetch_add(&left, 1, __ATOMIC_SEQ_CST);
	futex_wake(&left);
}

/*
 * All threads see what was stored before, and what they stored is seen. Where the kernel does not help, waiting does:
 * no processor keeps a store to itself for long. A process that was restored has to register anew.
 */
static void all_agree(void)
{
	const struct timespec drain = { .tv_nsec = DRAIN_NS };
	int saved = errno;

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0) {
		gate_prepare();
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) < 0)
			nanosleep(&drain, NULL);
	}
	errno = saved;
}

void gate_prepare(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

int gate_close(unsigned timeout_ms)
{
	int64_t until = now_ms() + timeout_ms, rest;

	if (gate_place_shared())
		return -EUSERS;
	__atomic_store_n(&until_ms, until, __ATOMIC_SEQ_CST);
	__atomic_store_n(&gate_closed, CLOSING, __ATOMIC_SEQ_CST);
	all_agree();
	while ((rest = until - now_ms()) > 0) {
		int seen = __atomic_load_n(&left, __ATOMIC_SEQ_CST);
		struct timespec most = { .tv_nsec = (rest < LOOK_MS ? rest : LOOK_MS) * 1000000 };

		if (gate_place_empty())
			return 0;
		futex_wait(&left, seen, &most);
	}
	gate_open();
	return -ETIMEDOUT;
}

int gate_keep(void)
{
	int state = CLOSING;

	return __atomic_compare_exchange_n(&gate_closed, &state, CLOSED, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ?
		       0 : -ETIMEDOUT;
}

void gate_open(void)
{
	__atomic_store_n(&gate_closed, OPEN, __ATOMIC_SEQ_CST);
	futex_wake(&gate_closed);
}

void gate_forked(void)
{
	gate_place_forked(gate_mine);
	gate_closed = OPEN;
	pthread_mutex_init(&stubs.lock, NULL);
}

/* Where the number of `real` stands in the hash, or where it belongs. */
static size_t place_of(const void *real)
{
	size_t i = ((uintptr_t)real >> 4) * 0x9e3779b97f4a7c15ull >> 48;

	for (i %= HASH; stubs.at[i] && stubs.real[stubs.at[i] - 1] != real; i = (i + 1) % HASH)
		;
	return i;
}

void *gate_stub(void *real)
{
	void *stub = NULL;
	size_t i;

	pthread_mutex_lock(&stubs.lock);
	i = place_of(real);
	if (!stubs.at[i] && stubs.n < GATE_STUBS) {
		stubs.real[stubs.n] = gate_target[stubs.n] = real;
		stubs.at[i] = (uint16_t)++stubs.n;
	}
	if (stubs.at[i])
		stub = (void *)(gate_stubs + (size_t)STUB_LEN * (stubs.at[i] - 1u));
	pthread_mutex_unlock(&stubs.lock);
	return stub;
}

void gate_divert(void *real, void *ours)
{
	if (!gate_stub(real))
		return;
	pthread_mutex_lock(&stubs.lock);
	gate_target[stubs.at[place_of(real)] - 1] = ours;
	pthread_mutex_unlock(&stubs.lock);
}

bool gate_has(const void *at)
{
	return (const char *)at >= gate_stubs && (const char *)at < gate_stubs + (size_t)STUB_LEN * GATE_STUBS;
}

size_t gate_count(void)
{
	return stubs.n;
}
