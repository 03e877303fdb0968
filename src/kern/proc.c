/* SPDX-License-Identifier: Apache-2.0 */
/* A task in /proc: where it is, stat, comm, threads, children, links (proc.h). */
#include "kern/proc.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "kern/procfile.h"

int proc_open(pid_t pid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(errno, "open %s", path);
	return fd;
}

/* The fields behind the comm, counted from the state (field 3 of proc(5)) as 0. */
enum {
	F_PPID = 1, F_PGRP, F_SESSION, F_TTY, F_TPGID, F_FLAGS,
	F_PRIORITY = 15, F_NICE, F_THREADS, F_START = 19, F_VSIZE, F_STARTCODE = 23, F_ENDCODE, F_STARTSTACK,
	F_RT_PRIORITY = 37, F_POLICY, F_STARTDATA = 42, F_ENDDATA, F_STARTBRK, F_ARGSTART, F_ARGEND, F_ENVSTART,
	F_ENVEND, F_EXITCODE, F_COUNT
};

static void stat_fill(struct proc_stat *s, const int64_t *f)
{
	s->ppid = (pid_t)f[F_PPID];
	s->pgrp = (pid_t)f[F_PGRP];
	s->session = (pid_t)f[F_SESSION];
	s->tty_nr = (int)f[F_TTY];
	s->tpgid = (pid_t)f[F_TPGID];
	s->flags = (uint32_t)f[F_FLAGS];
	s->priority = f[F_PRIORITY];
	s->nice = f[F_NICE];
	s->num_threads = (uint32_t)f[F_THREADS];
	s->start_ticks = (uint64_t)f[F_START];
	s->vsize_len = (uint64_t)f[F_VSIZE];
	s->start_code_va = (uint64_t)f[F_STARTCODE];
	s->end_code_va = (uint64_t)f[F_ENDCODE];
	s->start_stack_va = (uint64_t)f[F_STARTSTACK];
	s->rt_priority = (uint32_t)f[F_RT_PRIORITY];
	s->policy = (uint32_t)f[F_POLICY];
	s->start_data_va = (uint64_t)f[F_STARTDATA];
	s->end_data_va = (uint64_t)f[F_ENDDATA];
	s->start_brk_va = (uint64_t)f[F_STARTBRK];
	s->arg_start_va = (uint64_t)f[F_ARGSTART];
	s->arg_end_va = (uint64_t)f[F_ARGEND];
	s->env_start_va = (uint64_t)f[F_ENVSTART];
	s->env_end_va = (uint64_t)f[F_ENVEND];
	/* of a live task it may be what the last ptrace stop left there */
	s->exit_code = s->state == 'Z' || s->state == 'X' ? (int)f[F_EXITCODE] : 0;
}

/* Numbers may be negative or above INT64_MAX (rsslim): both fit into 64 bits of two's complement. */
static bool stat_fields(const char *p, int64_t *f)
{
	for (int i = 1; i < F_COUNT; i++) {
		uint64_t u;

		if (scan_u64(&p, 10, &u))
			f[i] = (int64_t)u;
		else if (!scan_i64(&p, &f[i]))
			return false;
	}
	return true;
}

static int stat_read(int proc_fd, pid_t tid, const char *file_name, struct proc_stat *ret_stat)
{
	struct proc_stat s = { 0 };
	int64_t f[F_COUNT];
	const char *p, *name, *end;
	size_t len;
	int r;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, tid, file_name);
	if (r < 0)
		return r;
	p = file.text;
	/* the comm may hold anything, ") R 1 1" included; the numbers behind it hold no ')' */
	name = strchr(p, '(');
	end = memrchr(file.text, ')', file.len);
	if (!scan_int(&p, &s.pid) || !name || !end || end < name || end[1] != ' ' || !end[2])
		return err_say(EINVAL, "%s/stat makes no sense", tid ? "task" : "/proc/PID");
	len = (size_t)(end - name - 1);
	if (len >= sizeof(s.comm))
		len = sizeof(s.comm) - 1;
	memcpy(s.comm, name + 1, len);
	s.state = end[2];
	if (!stat_fields(end + 3, f))
		return err_say(EINVAL, "%s/stat has too few numbers", tid ? "task" : "/proc/PID");
	stat_fill(&s, f);
	*ret_stat = s;
	return 0;
}

int proc_stat_read(int proc_fd, pid_t tid, struct proc_stat *ret_stat)
{
	return stat_read(proc_fd, tid, "stat", ret_stat);
}

int proc_stat_of(int root_fd, pid_t pid, struct proc_stat *ret_stat)
{
	char name[32];

	snprintf(name, sizeof(name), "%d/stat", pid);
	return stat_read(root_fd, 0, name, ret_stat);
}

int proc_comm_read(int proc_fd, pid_t tid, char ret_comm[PROC_COMM_LEN])
{
	size_t len;
	int r;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, tid, "comm");
	if (r < 0)
		return r;
	len = file.len && file.text[file.len - 1] == '\n' ? file.len - 1 : file.len;
	if (len >= PROC_COMM_LEN)
		len = PROC_COMM_LEN - 1;
	memcpy(ret_comm, file.text, len);
	ret_comm[len] = 0;
	return 0;
}

/* Grows as arena_push() does: full when n is 0 or a power of two. */
void proc_pid_push(struct arena *a, pid_t **pids, size_t *n, pid_t pid)
{
	if (!(*n & (*n - 1))) {
		pid_t *more = arena_alloc(a, (*n ? 2 * *n : 1) * sizeof(*more));

		if (*n)
			memcpy(more, *pids, *n * sizeof(*more));
		*pids = more;
	}
	(*pids)[(*n)++] = pid;
}

struct pid_list {
	struct arena *a;
	pid_t *v;
	size_t n;
};

static int take_tid(void *arg, uint32_t number)
{
	struct pid_list *l = arg;

	proc_pid_push(l->a, &l->v, &l->n, (pid_t)number);
	return 0;
}

int proc_threads(int proc_fd, struct arena *a, pid_t **ret_tids, size_t *ret_n)
{
	struct pid_list l = { .a = a };
	int r = procfile_numbers(proc_fd, "task", take_tid, &l);

	if (r < 0)
		return r;
	*ret_tids = l.v;
	*ret_n = l.n;
	return 0;
}

int proc_children(int proc_fd, pid_t tid, struct arena *a, pid_t **pids, size_t *n)
{
	const char *p;
	int r, pid;
	AUTO_PROCFILE(file);

	r = procfile_read(&file, proc_fd, tid, "children");
	if (r < 0)
		return r;
	for (p = file.text; scan_int(&p, &pid);)
		proc_pid_push(a, pids, n, pid);
	return 0;
}

int proc_link(int proc_fd, const char *name, struct arena *a, char **ret_path)
{
	char path[PATH_MAX];
	ssize_t n = readlinkat(proc_fd, name, path, sizeof(path));

	if (n < 0)
		return err_set(errno, "readlink %s", name);
	if ((size_t)n == sizeof(path))
		return err_set(ENAMETOOLONG, "readlink %s", name);
	path[n] = 0;
	*ret_path = arena_memdup(a, path, (size_t)n + 1);
	return 0;
}

int proc_link_open(int proc_fd, const char *name, int flags)
{
	int fd = openat(proc_fd, name, flags | O_CLOEXEC);

	if (fd < 0)
		return err_set(errno, "open %s", name);
	return fd;
}
