/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections that no process holds any more: the kernel's remains of closed ones (TIME_WAIT and before). */
#ifndef KERN_SOCKORPHAN_H
#define KERN_SOCKORPHAN_H

#include <sys/socket.h>

#include "base/err.h"

/*
 * Ends those whose own address is `local` (any address of that port when either is the wildcard), so that the
 * port can be bound again. Sockets that belong to a process are left alone. Returns how many, or -errno with a trail.
 */
int sockorphan_end(const struct sockaddr *local) must_check;

#endif
