/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate before the driver (src/preload/gate.h): whoever has closed it is alone. Threads call as fast as they can,
 * through real stubs, a function that looks whether the gate is closed while it runs; threads come and go meanwhile.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "preload/gate.h"

enum { CALLERS = 3, CLOSINGS = 3000 };

static atomic_int alone, met, wrong, end;
static atomic_ulong calls;
static _Alignas(64) volatile uint64_t fought_for[64]; /* what is stored after it is not seen at once */

/* As wide as a launch of a kernel, so that words on the stack are looked at, too. */
static uint64_t driver_call(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f, uint64_t g,
			    uint64_t h, uint64_t i)
{
	if (alone)
		met++;
	atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
	if (alone)
		met++;
	return a + b + c + d + e + f + g + h + i;
}

typedef uint64_t (*driver_fn)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

static driver_fn stub(void)
{
	return (driver_fn)gate_stub((void *)driver_call);
}

static void *caller(void *arg)
{
	driver_fn fn = stub();

	(void)arg;
	for (uint64_t i = 0; !end; i++) {
		for (size_t k = 0; k < 64; k += 8)
			fought_for[k] = i;
		if (fn(i, 1, 2, 3, 4, 5, 6, 7, 8) != i + 36)
			wrong++;
	}
	return NULL;
}

/* Threads of one call each. */
static void *passer_by(void *arg)
{
	if (stub()(1, 2, 3, 4, 5, 6, 7, 8, 9) != 45)
		wrong++;
	return arg;
}

static void *passers_by(void *arg)
{
	pthread_t t;

	while (!end && !pthread_create(&t, NULL, passer_by, NULL))
		pthread_join(t, NULL);
	return arg;
}

static void whoever_closed_it_is_alone(void **state)
{
	pthread_t t[CALLERS + 1];

	(void)state;
	gate_prepare();
	for (size_t i = 0; i <= CALLERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, i < CALLERS ? caller : passers_by, NULL), 0);
	while (calls < 1000)
		;
	for (int i = 0; i < CLOSINGS; i++) {
		unsigned long before = calls;

		while (calls < before + 10 + (unsigned)i % 50) /* they run again */
			;
		for (size_t k = 0; k < 64; k += 8)
			fought_for[k] = (uint64_t)i;
		assert_int_equal(gate_close(10000), 0);
		alone = 1;
		assert_int_equal(gate_keep(), 0);
		before = calls;
		for (int k = 0; k < 200; k++)
			if (calls != before)
				met++;
		alone = 0;
		gate_open();
	}
	end = 1;
	for (size_t i = 0; i <= CALLERS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(met, 0);
	assert_int_equal(wrong, 0);
	end = 0;
}

static atomic_int inside, leave;

static void stays(void)
{
	inside = 1;
	while (!leave)
		usleep(1000);
}

static void *stayer(void *arg)
{
	((void (*)(void))gate_stub((void *)stays))();
	return arg;
}

static void a_call_that_does_not_end_keeps_it_open(void **state)
{
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, stayer, NULL), 0);
	while (!inside)
		;
	assert_int_equal(gate_close(50), -ETIMEDOUT);
	assert_int_equal(stub()(1, 1, 1, 1, 1, 1, 1, 1, 1), 9); /* open again */
	leave = 1;
	assert_int_equal(gate_close(10000), 0);
	gate_open();
	pthread_join(t, NULL);
}

static void *ends_inside(void *arg)
{
	((void (*)(void *))gate_stub((void *)pthread_exit))(arg);
	return arg;
}

static void a_thread_that_ended_inside_is_gone(void **state)
{
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, ends_inside, NULL), 0);
	pthread_join(t, NULL);
	assert_int_equal(gate_close(1000), 0);
	gate_open();
}

static void one_that_nobody_keeps_opens_by_itself(void **state)
{
	(void)state;
	assert_int_equal(gate_close(50), 0);
	assert_int_equal(stub()(1, 1, 1, 1, 1, 1, 1, 1, 1), 9); /* waits here for a moment */
	assert_int_equal(gate_keep(), -ETIMEDOUT);
}

/* In the child nobody else is inside, and the gate is open. */
static void a_child_is_alone(void **state)
{
	pthread_t t;
	int status;
	pid_t pid;

	(void)state;
	inside = leave = 0;
	assert_int_equal(pthread_create(&t, NULL, stayer, NULL), 0);
	while (!inside)
		;
	pid = fork();
	if (!pid) {
		gate_forked();
		_exit(gate_close(1000) != 0 || (gate_open(), stub()(1, 1, 1, 1, 1, 1, 1, 1, 1) != 9));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	leave = 1;
	pthread_join(t, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whoever_closed_it_is_alone),
		cmocka_unit_test(a_call_that_does_not_end_keeps_it_open),
		cmocka_unit_test(a_thread_that_ended_inside_is_gone),
		cmocka_unit_test(one_that_nobody_keeps_opens_by_itself),
		cmocka_unit_test(a_child_is_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
