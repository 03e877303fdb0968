/* SPDX-License-Identifier: Apache-2.0 */
/* What the two sides of the keeper have in common; nobody else includes it. */
#ifndef TRACK_KEEPER_MAIN_H
#define TRACK_KEEPER_MAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "track/keeper.h"

/* What a dump says to take over. */
enum { KEEPER_LET_GO = 'g' };

/* The life of the keeper's process; sock: from whom it gets what it keeps. */
_Noreturn void keeper_main(int sock);

/* Where the keeper of this process listens. Returns the length of the address. */
socklen_t keeper_name(pid_t pid, struct sockaddr_un *ret);

#endif
