/* SPDX-License-Identifier: Apache-2.0 */
/* The library's own thread, which answers thaw (session.c, ask.h). */
#ifndef PRELOAD_SESSION_H
#define PRELOAD_SESSION_H

/* Once there is memory that can be taken away; later calls do nothing. Under the owners' lock. */
void session_start(void);
/* In a child of fork(): it has no such thread, and the door leads into the parent. */
void session_forked(void);

#endif
