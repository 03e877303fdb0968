/* SPDX-License-Identifier: Apache-2.0 */
/* Places (gate_place.h). A thread may make its first call in a signal handler: nothing is locked here. */
#include "preload/gate_place.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Memory that nobody touches costs nothing. NOBODY: no thread has ever such an ID. */
enum { PLACES = 16384, NOBODY = 1 << 30 };

static struct gate_place places[PLACES], crowd;
static size_t used; /* places that somebody has had */

static bool is_gone(pid_t tid)
{
	int saved = errno;
	bool gone = syscall(SYS_tgkill, getpid(), tid, 0) < 0 && errno == ESRCH;

	errno = saved;
	return gone;
}

static struct gate_place *place_claim(struct gate_place *p, pid_t was, pid_t tid)
{
	if (!__atomic_compare_exchange_n(&p->tid, &was, tid, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return NULL;
	__atomic_store_n(&p->in, 0, __ATOMIC_SEQ_CST); /* it may have ended inside */
	return p;
}

static size_t places_used(void)
{
	size_t n = __atomic_load_n(&used, __ATOMIC_SEQ_CST);

	return n < PLACES ? n : PLACES;
}

struct gate_place *gate_place_take(void)
{
	pid_t tid = (pid_t)syscall(SYS_gettid);
	struct gate_place *p = NULL;
	size_t n = places_used();

	/* a thread with this ID before us is gone, and looks alive from now on */
	for (size_t i = 0; i < n; i++)
		if (__atomic_load_n(&places[i].tid, __ATOMIC_SEQ_CST) == tid)
			return place_claim(&places[i], tid, tid);
	for (size_t i = 0; i < n && !p; i++) {
		pid_t was = __atomic_load_n(&places[i].tid, __ATOMIC_SEQ_CST);

		if (was && is_gone(was))
			p = place_claim(&places[i], was, tid);
	}
	if (p)
		return p;
	n = __atomic_fetch_add(&used, 1, __ATOMIC_SEQ_CST);
	if (n < PLACES)
		return place_claim(&places[n], 0, tid);
	__atomic_store_n(&crowd.tid, NOBODY, __ATOMIC_SEQ_CST);
	return &crowd;
}

bool gate_place_shared(void)
{
	return __atomic_load_n(&crowd.tid, __ATOMIC_SEQ_CST);
}

bool gate_place_empty(void)
{
	for (size_t i = 0; i < places_used(); i++)
		if (__atomic_load_n(&places[i].in, __ATOMIC_SEQ_CST) &&
		    !is_gone(__atomic_load_n(&places[i].tid, __ATOMIC_SEQ_CST)))
			return false;
	return true;
}

void gate_place_forked(struct gate_place *mine)
{
	for (size_t i = 0; i < places_used(); i++)
		if (&places[i] != mine)
			places[i] = (struct gate_place){ .tid = NOBODY };
	if (mine)
		mine->tid = (pid_t)syscall(SYS_gettid);
}
