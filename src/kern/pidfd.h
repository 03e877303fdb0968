/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pidfds: handles of processes that cannot come to mean another one.
 * All return a descriptor or 0, or -errno with a trail. Descriptors are O_CLOEXEC and the caller's.
 */
#ifndef KERN_PIDFD_H
#define KERN_PIDFD_H

#include <sys/types.h>

#include "base/err.h"

int pidfd_for(pid_t pid) must_check;
/* A duplicate of the target's descriptor tfd: the same description, also of sockets. Needs the right to ptrace. */
int pidfd_fetch(int pidfd, int tfd) must_check;

#endif
