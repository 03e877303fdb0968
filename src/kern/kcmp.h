/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do two tasks share a kernel object? kcmp(2), and a set of open file descriptions on top of it.
 *
 * kcmp gives an order that is stable while the objects live, so n descriptors
 * are sorted into descriptions in n log n calls, and far fewer in practice: only
 * those of the same file, opened through the same mount, are compared at all.
 * Position and flags do not part them: they may change between two looks when a
 * process outside of the tree shares the description.
 */
#ifndef KERN_KCMP_H
#define KERN_KCMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

enum kcmp_what { /* the kernel's numbers */
	KCMP_WHAT_FILE, KCMP_WHAT_VM, KCMP_WHAT_FILES, KCMP_WHAT_FS, KCMP_WHAT_SIGHAND, KCMP_WHAT_IO,
	KCMP_WHAT_SYSVSEM, KCMP_WHAT_EPOLL_TFD
};

/* 0: the same, 1: less, 2: greater, 3: unequal and unordered; -errno with a trail. fd1, fd2 for KCMP_WHAT_FILE only. */
int kcmp_order(pid_t pid1, pid_t pid2, enum kcmp_what what, int fd1, int fd2) must_check;
/* 1 the same, 0 not, -errno with a trail. */
int kcmp_same(pid_t pid1, pid_t pid2, enum kcmp_what what) must_check;
/*
 * Is pid's descriptor fd what was added to its epoll epfd under the number tfd? toff
 * counts entries of equal number (from 0). 1, 0, or -errno with a trail (-ENOENT: no such entry).
 */
int kcmp_epoll(pid_t pid, int fd, pid_t ep_pid, int epfd, int tfd, uint32_t toff) must_check;
/* The same as an order (kcmp_order's of descriptors). Each call walks the whole set up to the entry. */
int kcmp_epoll_order(pid_t pid, int fd, pid_t ep_pid, int epfd, int tfd, uint32_t toff) must_check;

struct kcmp_set;

struct kcmp_file {
	pid_t pid; /* must stay stopped (or alive, not closing tfd) as long as the set is used */
	int tfd;
	uint64_t dev, ino; /* from fstat */
	uint32_t mnt_id;   /* from fdinfo */
};

/* In the arena, except for its hash table: kcmp_set_free() before the arena goes (NULL is fine). */
struct kcmp_set *kcmp_set_new(struct arena *a);
void kcmp_set_free(struct kcmp_set *set);
/*
 * The number (1, 2, ... in order of arrival) of the description; *ret_new tells whether this is its
 * first descriptor. 0 or -errno with a trail.
 */
int kcmp_set_add(struct kcmp_set *set, const struct kcmp_file *f, uint32_t *ret_id, bool *ret_new) must_check;

#endif
