/* SPDX-License-Identifier: Apache-2.0 */
/* SOL_IP, SOL_IPV6 and SOL_TCP options of internet sockets, both ways. */
#ifndef KIND_INET_OPTS_H
#define KIND_INET_OPTS_H

#include "kind/sk.h"

/* Fills ip_opts, v6only, and tcp_opts of TCP sockets. */
int inet_opts_dump(struct dumping *d, int fd, InetSkEntry *e) must_check;
/* What bind() depends on. SO_REUSEADDR is set for TCP in any case: connections of a process that was killed linger. */
int inet_opts_before_bind(int fd, const InetSkEntry *e) must_check;
/* The rest; SO_REUSEADDR gets its true value from the caller, once listen() is past. */
int inet_opts_after_bind(int fd, const InetSkEntry *e) must_check;

#endif
