/* SPDX-License-Identifier: Apache-2.0 */
/* Why a task cannot be seized, in sentences. Only seize.c uses this. */
#ifndef KERN_SEIZE_REFUSE_H
#define KERN_SEIZE_REFUSE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "kern/tracers.h"

static inline bool is_gone(int r)
{
	return r == -ESRCH || r == -ENOENT;
}

/*
 * Why thread tid of the task behind proc_fd could not be seized (seize_error,
 * -errno): the reason with its sentence; 0 when it is dead or dying, which is no reason to give
 * up; when it is our own tracee already, 1 and the hand of the crew that traces it.
 */
int seize_explain(int proc_fd, pid_t pid, pid_t tid, int seize_error, const struct tracers *crew, struct arena *a,
		  uint8_t *ret_hand) must_check;
/* -EINVAL if root is us or above us. */
int seize_check_root(pid_t root) must_check;
/* -ETIMEDOUT: tid did not stop in time. */
int seize_late(pid_t tid, uint64_t timeout_ns);

#endif
