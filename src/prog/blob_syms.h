/* SPDX-License-Identifier: Apache-2.0 */
/* The blob as the engine sees it: its bytes, and where in it the system call instruction for others is. */
#ifndef PROG_BLOB_SYMS_H
#define PROG_BLOB_SYMS_H

#include <stdbool.h>
#include <stdint.h>

#include "pie/prog.h"

/* Embedded by the Makefile. */
extern const uint8_t pie_blob[], pie_blob_end[];

/* Offset of `syscall` in pie_sigreturn: the first "syscall; ud2" of the blob. */
uint64_t blob_syscall_off(void);

/* Puts the blob where it is to run; len: of all memory of thaw's there. */
void blob_copy(void *to, uint64_t len);
/* Whether these are the first bytes of one. */
bool blob_is(const struct pie_head *head);

#endif
