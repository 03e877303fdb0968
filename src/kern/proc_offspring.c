/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The children of a whole process (proc.h).
 *
 * The kernel lists children by thread, at 8 us each; with a thousand threads on a
 * machine of a hundred processes it is quicker to ask every process for its parent.
 */
#include <fcntl.h>

#include "base/cleanup.h"
#include "kern/proc.h"
#include "kern/procfile.h"

enum {
	CROWD = 64, /* threads from which counting the processes may pay */
	PROC_COST = 2 /* looking at a process costs no more than two looks at a thread */
};

struct pid_list {
	struct arena *a;
	pid_t *v;
	size_t n, max;
};

static int take_pid(void *arg, uint32_t number)
{
	struct pid_list *l = arg;

	if (l->n == l->max)
		return -E2BIG;
	l->v[l->n++] = (pid_t)number;
	return 0;
}

/* All processes, at most max: else -E2BIG. */
static int list_processes(int root_fd, struct pid_list *l)
{
	l->v = arena_alloc(l->a, l->max * sizeof(*l->v));
	return procfile_numbers(root_fd, ".", take_pid, l);
}

static int scan_processes(int root_fd, const struct pid_list *all, pid_t parent, struct arena *a, pid_t **pids,
			  size_t *n)
{
	for (size_t i = 0; i < all->n; i++) {
		struct proc_stat stat = { 0 };
		int r = proc_stat_of(root_fd, all->v[i], &stat);

		if (r == -ENOENT || r == -ESRCH || (!r && stat.ppid != parent))
			continue;
		if (r < 0)
			return r;
		proc_pid_push(a, pids, n, all->v[i]);
	}
	return 0;
}

int proc_offspring(int proc_fd, pid_t pid, const pid_t *tids, size_t n_tids, struct arena *a, pid_t **pids, size_t *n)
{
	struct pid_list all = { .a = a, .max = n_tids / PROC_COST };
	auto_close int root_fd = -1;
	int r = -E2BIG;

	if (n_tids >= CROWD) {
		root_fd = openat(proc_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (root_fd >= 0)
			r = list_processes(root_fd, &all);
	}
	if (!r)
		return scan_processes(root_fd, &all, pid, a, pids, n);
	r = 0;
	for (size_t i = 0; !r && i < n_tids; i++)
		r = proc_children(proc_fd, tids[i], a, pids, n);
	return r;
}
