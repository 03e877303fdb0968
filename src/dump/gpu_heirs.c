/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children of CUDA processes (gpu_dump.h): workers that load data, say. A fork leaves them the driver's descriptors and
 * mappings, with which they can do nothing: the driver works for the process that has opened them.
 *
 * The driver does not know them, as it does not know a process that is in the middle of cuInit(). That one has opened
 * /dev/nvidia* itself, though. All that an heir has open is open in its forebear, too, at first; and nothing of it
 * any more when that one has been through a checkpoint. Then it tells that it was born of a process that had the
 * driver already: CUDA does not start in such a child. What a restore gives it are mere names (O_PATH), as good for
 * its close().
 */
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "dump/gpu_dump.h"

static int number_of(struct kcmp_set *set, const struct seize_task *t, int fd, uint32_t *ret)
{
	struct kcmp_file f = { .pid = t->pid, .tfd = fd };
	char path[32];
	struct stat st;
	bool fresh;

	snprintf(path, sizeof(path), "fd/%d", fd);
	if (fstatat(t->proc_fd, path, &st, 0) < 0)
		return err_set(errno, "look at descriptor %d", fd);
	f.dev = st.st_dev;
	f.ino = st.st_ino;
	return kcmp_set_add(set, &f, ret, &fresh);
}

int gpu_heirs_note(struct dump *d, struct kcmp_set *set, const struct seize_task *t, struct gpu_proc *p)
{
	int err = 0;

	p->ppid = t->ppid;
	p->forked = t->stat.flags & PROC_FORKNOEXEC;
	p->start_ticks = t->stat.start_ticks;
	p->files = arena_alloc(d->kinds.a, p->traces.n_fds * sizeof(*p->files));
	for (size_t i = 0; err >= 0 && i < p->traces.n_fds; i++)
		err = number_of(set, t, p->traces.fds[i], &p->files[i]);
	return err;
}

int gpu_heirs_age(struct gpu_proc *p)
{
	auto_close int proc_fd = proc_open(p->pid);
	struct proc_stat stat;
	int err = proc_fd < 0 ? proc_fd : proc_stat_read(proc_fd, p->tid, &stat);

	if (err >= 0)
		p->driver_ticks = stat.start_ticks;
	return err;
}

/* Whether a process with GPU state has file open. */
static bool has_owner(const struct gpu_dump *g, uint32_t file)
{
	for (size_t i = 0; i < g->n; i++)
		for (size_t k = 0; g->v[i].found != GPU_NONE && k < g->v[i].traces.n_fds; k++)
			if (g->v[i].files[k] == file)
				return true;
	return false;
}

static const struct gpu_proc *find(const struct gpu_dump *g, pid_t pid)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->v[i].pid == pid)
			return &g->v[i];
	return NULL;
}

static bool is_born_later(const struct gpu_dump *g, const struct gpu_proc *p)
{
	const struct gpu_proc *forebear = find(g, p->ppid);

	while (forebear && forebear->found == GPU_NONE)
		forebear = find(g, forebear->ppid);
	return forebear && p->forked && p->start_ticks > forebear->driver_ticks;
}

bool gpu_heirs_is(const struct gpu_dump *g, const struct gpu_proc *p)
{
	size_t shared = 0;

	for (size_t i = 0; i < p->traces.n_fds; i++)
		shared += has_owner(g, p->files[i]);
	return shared == p->traces.n_fds || (!shared && is_born_later(g, p));
}

void gpu_heirs_mark(struct dump *d)
{
	for (size_t i = 0; d->gpu && i < d->gpu->n_heirs; i++)
		for (size_t k = 0; k < d->kinds.ntasks; k++)
			d->kinds.tasks[k].gpu_heir |= d->kinds.tasks[k].pid == d->gpu->heirs[i];
}
