/* SPDX-License-Identifier: Apache-2.0 */
/* A thread under a seccomp filter, which any question from inside might offend. */
// thaw-refuses: seccomp
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "subject.h"

static pthread_barrier_t before, after;

static void *filtered(void *arg)
{
	struct sock_filter all = { .code = BPF_RET | BPF_K, .k = SECCOMP_RET_ALLOW };
	struct sock_fprog prog = { 1, &all };

	(void)arg;
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), "seccomp");
	pthread_barrier_wait(&before);
	pthread_barrier_wait(&after);
	return NULL;
}

int main(void)
{
	pthread_t th;

	pthread_barrier_init(&before, NULL, 2);
	pthread_barrier_init(&after, NULL, 2);
	CHECK(!pthread_create(&th, NULL, filtered, NULL), "create a thread");
	pthread_barrier_wait(&before);
	subject_ready();
	pthread_barrier_wait(&after);
	CHECK(!pthread_join(th, NULL), "join");
	return 0;
}
