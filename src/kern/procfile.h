/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and scanning the small text files of /proc: the ground under proc, maps, fdinfo and locks.
 *
 * No stdio, no allocation for files under 4 KiB: a dump reads thousands of these.
 */
#ifndef KERN_PROCFILE_H
#define KERN_PROCFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#include "base/err.h"

struct procfile {
	char *text; /* NUL-terminated; in room or in heap */
	size_t len;
	char *heap;
	char room[4096];
};

static inline void procfile_drop(const struct procfile *f)
{
	free(f->heap);
}
/* Declares f so that leaving its scope frees it; only heap is initialised: room would cost a memset. */
#define AUTO_PROCFILE(f)                                        \
	__attribute__((cleanup(procfile_drop))) struct procfile f; \
	(f).heap = NULL

/* The whole of NAME (tid 0) or task/TID/NAME. 0 or -errno with a trail. */
int procfile_read(struct procfile *f, int proc_fd, pid_t tid, const char *name) must_check;

/*
 * Calls take(arg, number) for every entry of a directory whose name is a decimal
 * number, in the order of the listing. 0, what take() returned when it was negative, or -errno with a trail.
 */
int procfile_numbers(int proc_fd, const char *dir, int (*take)(void *arg, uint32_t number), void *arg) must_check;

/*
 * Scanners: skip blanks (not newlines), take one item at *p and step behind it.
 * False, with *p where it was, when the item is not there or does not fit.
 */
bool scan_u64(const char **p, unsigned int base, uint64_t *ret);
bool scan_u32(const char **p, unsigned int base, uint32_t *ret);
bool scan_i64(const char **p, int64_t *ret);
bool scan_int(const char **p, int *ret);
bool scan_word(const char **p, const char *word); /* exactly these characters */
void scan_blanks(const char **p);
/* Behind the next newline, or at the terminating NUL. */
const char *scan_line(const char *p);

#endif
