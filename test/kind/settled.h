/* SPDX-License-Identifier: Apache-2.0 */
/* A subject is ready only when its children and threads stand still as well. */
#ifndef TEST_SETTLED_H
#define TEST_SETTLED_H

#include <sys/syscall.h>

#include "subject.h"

/* Waits until the child or thread is blocked in the system call nr. */
static inline void settled_in(pid_t child, long nr_wanted)
{
	char path[64], text[64];
	long nr = -1;

	snprintf(path, sizeof(path), "/proc/%d/syscall", (int)child);
	for (int i = 0; i < 10000 && nr != nr_wanted; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		close(fd);
		CHECK(n > 0, "look at the child");
		text[n] = 0;
		nr = strncmp(text, "running", 7) ? strtol(text, NULL, 10) : -1;
		if (nr != nr_wanted)
			usleep(1000);
	}
	CHECK(nr == nr_wanted, "the child does not settle");
}

static inline void settled_in_read(pid_t child)
{
	settled_in(child, SYS_read);
}

#endif
