/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUs that may be used (cpus.h). A quota may be set at every level from a process's own
 * group up to the root that it sees; the least of them counts.
 *
 *   version 2   line "0::PATH";                cpu.max: "QUOTA PERIOD" or "max PERIOD"
 *   version 1   line "N:cpu,cpuacct:PATH";     cpu.cfs_quota_us (-1: none), cpu.cfs_period_us
 */
#include "kern/cpus.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { CPU_SETS = 8 }; /* 8192 CPUs: the most that Linux can be built for */

/* Reads a file of a group as text, which is empty if it cannot be read. */
static void read_text(int group, const char *name, char *text, size_t len)
{
	auto_close int fd = openat(group, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : io_read(fd, text, len - 1);

	text[n > 0 ? n : 0] = 0;
}

/* What one group allows, in CPUs; 0: all. */
static unsigned own_quota(int rootfd, const char *path, bool v2)
{
	auto_close int group = openat(rootfd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	long quota = 0, period = 0;
	char text[64];

	if (group < 0)
		return 0;
	read_text(group, v2 ? "cpu.max" : "cpu.cfs_quota_us", text, sizeof(text));
	if (v2) {
		if (sscanf(text, "%ld %ld", &quota, &period) != 2) /* "max" is no number */
			return 0;
	} else {
		quota = strtol(text, NULL, 10);
		read_text(group, "cpu.cfs_period_us", text, sizeof(text));
		period = strtol(text, NULL, 10);
	}
	return quota > 0 && period > 0 ? (unsigned)((quota - 1) / period + 1) : 0;
}

/* The least quota of a group and all above it. path is used up. */
static unsigned group_quota(int rootfd, char *path, bool v2)
{
	unsigned least = 0;

	for (;;) {
		unsigned cpus = own_quota(rootfd, path, v2);
		char *slash = strrchr(path, '/');

		if (cpus && (!least || cpus < least))
			least = cpus;
		if (!slash)
			return least;
		*slash = 0;
	}
}

static bool has_cpu(const char *controllers, size_t len)
{
	for (const char *end = controllers + len; controllers < end; controllers += strcspn(controllers, ",:") + 1)
		if (strcspn(controllers, ",:") == 3 && !strncmp(controllers, "cpu", 3))
			return true;
	return false;
}

/* One line of /proc/self/cgroup. */
static unsigned line_quota(int rootfd, const char *line, size_t len)
{
	const char *controllers = memchr(line, ':', len), *group;
	char path[PATH_MAX];
	bool v2;

	if (!controllers++)
		return 0;
	group = memchr(controllers, ':', (size_t)(line + len - controllers));
	if (!group)
		return 0;
	v2 = group == controllers;
	if (!v2 && !has_cpu(controllers, (size_t)(group - controllers)))
		return 0;
	group++;
	/* "." stands for the mount of version 2; those of version 1 are named after their controllers */
	if (v2)
		snprintf(path, sizeof(path), ".%.*s", (int)(line + len - group), group);
	else
		snprintf(path, sizeof(path), "%.*s%.*s", (int)(group - 1 - controllers), controllers,
			 (int)(line + len - group), group);
	return group_quota(rootfd, path, v2);
}

unsigned cpus_quota(int rootfd, const char *own)
{
	unsigned least = 0;

	for (size_t len; *own; own += len + (own[len] == '\n')) {
		unsigned cpus;

		len = strcspn(own, "\n");
		cpus = line_quota(rootfd, own, len);
		if (cpus && (!least || cpus < least))
			least = cpus;
	}
	return least;
}

unsigned cpus_usable(void)
{
	auto_close int root = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC);
	auto_free char *own = NULL;
	unsigned cpus = 1, quota = 0;
	cpu_set_t set[CPU_SETS]; /* the kernel refuses one that does not hold all that it may ever have */

	if (!sched_getaffinity(0, sizeof(set), set))
		cpus = (unsigned)CPU_COUNT_S(sizeof(set), set);
	if (root >= 0 && io_slurp(AT_FDCWD, "/proc/self/cgroup", &own) > 0)
		quota = cpus_quota(root, own);
	return quota && quota < cpus ? quota : cpus;
}
