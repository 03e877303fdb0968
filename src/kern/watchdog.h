/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gets a thread out of a system call that does not come back.
 *
 * PTRACE_SEIZE waits for an exec in the target that has begun; and that exec waits
 * for us, if it killed a thread that we trace, to reap it. Neither ends, and the call restarts
 * itself after signals. So a periodic signal jumps out of a guarded call that has lasted two ticks.
 *
 * The jump skips nothing but the call: whether it took effect is unknown.
 */
#ifndef KERN_WATCHDOG_H
#define KERN_WATCHDOG_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/err.h"

struct watchdog {
	timer_t timer;
	struct sigaction old_action;
	sigset_t old_mask;
	bool running, second;
};

/* Ticks every 10 ms from now on, with SIGRTMAX. 0 or -errno with a trail. */
int watchdog_begin(struct watchdog *w) must_check;
/* The same for another thread of the process, which ends before the first one's does. */
int watchdog_begin_second(struct watchdog *w) must_check;
void watchdog_end(struct watchdog *w);

struct watchdog_guard {
	sigjmp_buf out;
	volatile sig_atomic_t armed, ticks;
};
struct watchdog_guard *watchdog_guard(void);

/* The value of `call`, one system call, or `stuck` if the watchdog ended it. */
#define watchdog_call(call, stuck)                             \
	({                                                     \
		struct watchdog_guard *guard_ = watchdog_guard(); \
		__typeof__(call) volatile result_ = (stuck);   \
		if (!sigsetjmp(guard_->out, 0)) {              \
			guard_->ticks = 0;                     \
			guard_->armed = 1;                     \
			result_ = (call);                      \
		}                                              \
		guard_->armed = 0;                             \
		result_;                                       \
	})

#endif
